"""Judging models."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from arcface_common.errors import DataError
from arcface_tfx.models import load

if TYPE_CHECKING:
    from arcface_common.protocol.verification_result import VerificationResult
    from serving.local import LocalModel


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
    from arcface_common.protocol.conditions import CUTS
    from pipeline.evaluation.set_files import find_sets

    if folds not in CUTS:
        raise DataError(f"folds: expected one of {', '.join(CUTS)}. Received: {folds!r}")
    if sets is not None and not sets:
        raise DataError("sets: expected a name at least, or None for those that are there. Received: none")
    if sets is not None and not isinstance(sets, str) and not all(isinstance(name, str) for name in sets):
        raise DataError(f"sets: expected names. Received: {sets!r}")
    if not isinstance(data, str | os.PathLike):
        raise DataError(f"data: expected a path. Received: {data!r}")
    paths = find_sets(os.fspath(data), sets if sets is None or isinstance(sets, str) else ",".join(sets))
    loaded = load(model) if isinstance(model, str | os.PathLike) else model
    from evaluator_custom.networks.embedder import PairEmbedder
    from pipeline.evaluation.verification import evaluate_set
    from serving.local import LocalModel

    if not isinstance(loaded, LocalModel):
        raise DataError(f"model: expected a path, or what `load` gave. Received: {type(loaded).__name__}")
    embedder = PairEmbedder(loaded.path, loaded=loaded.loaded)
    return {name: evaluate_set(embedder, name, path, folds).result for name, path in paths.items()}
