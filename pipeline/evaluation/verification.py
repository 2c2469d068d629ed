"""The verification protocol on a model and a folder of `.bin` sets, outside a pipeline."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from arcface_common.console import progress
from arcface_common.errors import DataError
from components.formats.pair_attributes import FILE_COLUMN
from components.formats.verification_resize import read_fitted
from evaluator_custom.networks.embedder import Embedder
from evaluator_custom.protocol import insightface
from evaluator_custom.protocol.conditions import SIGNIFICANCE, Cut
from evaluator_custom.protocol.verification_statistics import McNemarResult, ProtocolError, mcnemar
from evaluator_custom.report import EvaluatedSet
from pipeline.evaluation.set_files import read_attributes
from pipeline.runs.tables import shown, spread
from trainer_module.data.images import decode


def evaluate_set(embedder: Embedder, name: str, path: str, folds: Cut = "contiguous") -> EvaluatedSet:
    """Evaluates one verification set; each distinct image is embedded once.

    Args:
      embedder: the loaded model.
      name: of the set.
      path: the `.bin` file; attributes of its images may lie beside it in `<set>.csv`.
      folds: how they are cut, see `insightface.evaluate`.

    Returns:
      The protocol's figures, and what they come from.

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
        result = insightface.evaluate(distances, pairs.is_same, norms, cut=folds)
    except ProtocolError as error:
        raise DataError(f"{path}: {error}") from error
    return EvaluatedSet(name, result, distances, pairs.is_same, pairs.images, attributes, files)


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


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two models on the same pairs.

    Attributes:
      first: the first model's figures.
      second: the second's.
      mcnemar: of the pairs that each judges correctly; None where one of them has no accuracy.
    """

    first: insightface.VerificationResult
    second: insightface.VerificationResult
    mcnemar: McNemarResult | None

    @classmethod
    def of(cls, first: EvaluatedSet, second: EvaluatedSet) -> "Comparison":
        """Compares what two models make of one set."""
        comparable = first.is_judged and second.is_judged
        return cls(first.result, second.result, mcnemar(first.correct, second.correct) if comparable else None)

    @property
    def difference(self) -> float | None:
        """Accuracy of the first model less that of the second, -1..1; None where one of them has none."""
        if self.first.accuracy is None or self.second.accuracy is None:
            return None
        return self.first.accuracy - self.second.accuracy

    def in_words(self) -> str:
        """Whether the difference says anything, e.g. "no significant difference (p = 0.41)"."""
        if self.mcnemar is None:
            return f"no comparison: {self.first.undefined.get('accuracy') or self.second.undefined.get('accuracy')}"
        p_value = self.mcnemar.p_value
        shown = f"p = {p_value:.2g}" if p_value >= 1e-4 else "p < 0.0001"
        if p_value >= SIGNIFICANCE:
            return f"no significant difference ({shown})"
        better = "first" if self.mcnemar.only_first > self.mcnemar.only_second else "second"
        return f"the {better} is better ({shown})"

    def to_dict(self) -> dict[str, Any]:
        """The second model's figures, the difference and the test, as JSON-ready values."""
        return {
            "figures": self.second.to_dict(),
            "accuracy_difference": self.difference,
            "mcnemar": None if self.mcnemar is None else dataclasses.asdict(self.mcnemar),
            "verdict": self.in_words(),
        }


def comparison_table(comparisons: Mapping[str, Comparison]) -> list[str]:
    """Accuracy and XNorm of both models by set, side by side, and what the difference says, as lines."""
    half = f"{'accuracy ± std':<15}  {'XNorm':>7}"
    lines = [f"{'set':<10} {'pairs':>6}  {'first: ' + half}  {'second: ' + half}  difference"]
    for name, comparison in comparisons.items():
        halves = [
            f"{label}{spread(result.accuracy, result.accuracy_std):<15}  {shown(result.xnorm, 3):>7}"
            for label, result in ((" " * 7, comparison.first), (" " * 8, comparison.second))
        ]
        difference = "-" if comparison.difference is None else f"{comparison.difference:+.4f}"
        lines.append(
            f"{name:<10} {comparison.first.pairs:>6}  {halves[0]}  {halves[1]}  {difference}, {comparison.in_words()}"
        )
    return lines
