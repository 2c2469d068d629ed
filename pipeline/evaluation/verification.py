"""The verification protocol on a model and a folder of `.bin` sets, outside a pipeline."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from arcface_common.console import progress
from arcface_common.errors import DataError
from arcface_common.protocol import insightface
from arcface_common.protocol.comparison import compare
from arcface_common.protocol.conditions import Cut
from arcface_common.protocol.scored_pairs import ScoredPairs
from arcface_common.protocol.verification_statistics import ProtocolError
from components.formats.pair_attributes import FILE_COLUMN
from components.formats.verification_resize import read_fitted
from evaluator_custom.networks.embedder import Embedder
from pipeline.evaluation.set_files import read_attributes
from pipeline.runs.tables import shown, spread
from trainer_module.data.images import decode


def evaluate_set(embedder: Embedder, name: str, path: str, folds: Cut = "contiguous") -> ScoredPairs:
    """Evaluates one verification set; each distinct image is embedded once.

    Args:
      embedder: the loaded model.
      name: of the set.
      path: the `.bin` file; attributes of its images may lie beside it in `<set>.csv`.
      folds: how they are cut, see `insightface.evaluate`.

    Returns:
      What the model makes of its pairs.

    Raises:
      DataError: not a verification set, an image in it is broken, attributes that don't fit it, or a network that gives
        no embeddings for its images.
    """
    pairs = read_fitted(path).pairs
    attributes = read_attributes(path, name, len(pairs))
    files = attributes.pop(FILE_COLUMN, ())
    with progress(total=len(set(pairs.images)), description=f"embedding {name}", unit="img") as bar:
        try:
            raw, mirrored = embedder.embed(pairs.images, bar)
        except tf.errors.InvalidArgumentError:
            _check_images(path, pairs.images)
            raise
    try:
        distances, norms = insightface.pair_distances(raw, mirrored)
        return ScoredPairs(distances, pairs.is_same, norms, attributes, folds, name, pairs.images, files)
    except ProtocolError as error:
        raise DataError(f"{path}: {error}") from error


def _check_images(path: str, images: list[bytes]) -> None:
    """Names the first image that can't be decoded: the network's error names none."""
    for index, image in enumerate(images):
        try:
            decode(image)
        except tf.errors.InvalidArgumentError as error:
            raise DataError(
                f"{path}, pair {index // 2}, image {index % 2}: expected a whole JPEG or PNG image. "
                f"Received: {error.message}"
            ) from error


def compared(first: ScoredPairs, second: ScoredPairs) -> dict[str, Any]:
    """The second model's figures on a set, the difference to the first's and the test, as JSON-ready values."""
    found = compare(first, second)
    return {
        "figures": second.result.to_dict(),
        "accuracy_difference": found.difference if found else None,
        "mcnemar": dataclasses.asdict(found.mcnemar) if found else None,
        "verdict": in_words(first, second),
    }


def in_words(first: ScoredPairs, second: ScoredPairs) -> str:
    """Says of the difference whether it means anything, e.g. "no significant difference (p = 0.41)"."""
    found = compare(first, second)
    if found is None:
        return f"no comparison: {first.result.undefined.get('accuracy') or second.result.undefined.get('accuracy')}"
    better = found.better("the first", "the second")
    verdict = f"{better} is better" if better else "no significant difference"
    return f"{verdict} (p = {found.p_value})".replace("= <", "<")


def comparison_table(firsts: Sequence[ScoredPairs], seconds: Sequence[ScoredPairs]) -> list[str]:
    """Accuracy and XNorm of both models by set, side by side, and what the difference says, as lines."""
    half = f"{'accuracy ± std':<15}  {'XNorm':>7}"
    lines = [f"{'set':<10} {'pairs':>6}  {'first: ' + half}  {'second: ' + half}  difference"]
    for first, second in zip(firsts, seconds, strict=True):
        halves = [
            f"{' ' * indent}{spread(result.accuracy, result.accuracy_std):<15}  {shown(result.xnorm, 3):>7}"
            for indent, result in ((7, first.result), (8, second.result))
        ]
        found = compare(first, second)
        difference = f"{found.difference:+.4f}" if found else "-"
        lines.append(
            f"{first.name:<10} {first.result.pairs:>6}  {halves[0]}  {halves[1]}  "
            f"{difference}, {in_words(first, second)}"
        )
    return lines
