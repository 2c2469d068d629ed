"""Judging models."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from arcface_common.arguments import NAMES, PATH, Kind, checked, is_path, one_of
from arcface_tfx.models import load
from arcface_tfx.tensorflow_import import import_tensorflow

if TYPE_CHECKING:
    from arcface_common.protocol.verification_result import VerificationResult
    from serving.local import LocalModel


def _is_model(value: Any) -> bool:
    serving = sys.modules.get("serving.local")  # nobody has a model before it is imported
    return is_path(value) or (serving is not None and isinstance(value, serving.LocalModel))


@checked(
    model=Kind("a path, or what `load` gave", _is_model),
    data=PATH,
    sets=NAMES.or_none(),
    folds=one_of("contiguous", "stratified"),
)
def evaluate(
    model: "LocalModel | str | os.PathLike[str]",
    data: str | os.PathLike[str],
    *,
    sets: Sequence[str] | str | None = None,
    folds: Literal["contiguous", "stratified"] = "contiguous",
) -> "dict[str, VerificationResult]":
    """Judges a model by InsightFace's 10-fold verification, as `arcface-tfx evaluate` does.

    >>> result = evaluate("model", "data", sets=["lfw"])["lfw"]
    >>> result.pairs
    20
    >>> result.accuracy is not None, result.tar, result.undefined["tar"]
    (True, None, 'needs 1,000 pairs of different people in each training part; there are 9')

    Args:
      model: what `load` gave, or its path.
      data: folder of `<set>.bin` files.
      sets: names, or one; None for those of the usual four that are there, or else all.
      folds: cut in file order, as published, or stratified, for sets that are sorted by kind.

    Returns:
      Set -> its figures. One that the pairs can't bear is None, with the reason in `undefined`.

    Raises:
      DataError: no such folder or set, or a broken one.
    """
    from pipeline.evaluation.set_files import find_sets

    paths = find_sets(os.fspath(data), sets if sets is None or isinstance(sets, str) else ",".join(sets))
    loaded = load(model) if isinstance(model, str | os.PathLike) else model
    import_tensorflow()
    from evaluator_custom.networks.embedder import PairEmbedder
    from pipeline.evaluation.verification import evaluate_set

    embedder = PairEmbedder(loaded.path, session=loaded.session)
    return {name: evaluate_set(embedder, name, path, folds).result for name, path in paths.items()}
