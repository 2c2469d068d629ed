"""Verification of a network that trains: the protocol on whole sets, in float32, as the exported model is judged."""

import json
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from arcface_common import filesystem
from arcface_common.console import progress
from arcface_common.errors import DataError, in_short
from arcface_common.protocol.insightface import evaluate, pair_distances
from arcface_common.protocol.verification_result import VerificationResult
from trainer_module import backbones
from trainer_module.data.images import to_input
from trainer_module.data.pairs import PairSet, PairSplits
from trainer_module.settings import TrainSettings

VERIFIED_FILE = "verified.json"  # beside the checkpoint
Results = Mapping[str, VerificationResult]  # by set
_IMAGES = 64  # at a time, with their mirrors 128, as the evaluator takes them
_PAIRS = 1024  # at a time in float64: 2 x 2 x 1,024 embeddings of 512 are 17 MB


class Verification:
    """Judges weights by verification sets, in a network of its own outside of any strategy.

    So the figures are those of the model that would be exported now: float32, and batch-norm statistics that are the
    mean of all replicas'. The copy takes the memory of the backbone's weights, and works on one device.
    """

    def __init__(self, settings: TrainSettings, pairs: PairSplits) -> None:
        """Builds the network, and reads each set once.

        Args:
          settings: backbone and pixels.
          pairs: the sets.

        Raises:
          FileNotFoundError: no shard matches.
        """
        self._sets = {name: PairSet(patterns) for name, patterns in pairs.patterns.items()}
        self._folds = pairs.folds
        self._network = backbones.build(settings.backbone, **settings.build_options())
        pixel_format = settings.pixel_format()

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, None], tf.uint8)])
        def embed(pixels: tf.Tensor) -> list[tf.Tensor]:
            both = tf.concat([pixels, tf.image.flip_left_right(pixels)], axis=0)
            embeddings: list[tf.Tensor] = tf.split(self._network(to_input(both, pixel_format), training=False), 2)
            return embeddings

        self._embed = embed

    def check_bears_accuracy(self) -> None:
        """Checks that the pairs bear an accuracy at all, by which a best checkpoint is told.

        Raises:
          DataError: none of the sets does.
        """
        ideal = {
            name: evaluate(np.where(pairs.is_same, 0.5, 1.5), pairs.is_same, cut=self._folds)
            for name, pairs in self._sets.items()
        }
        if mean_accuracy(ideal) is None:
            raise DataError(f"train.keep=best: expected pairs that bear an accuracy. Received: {in_words(ideal)}")

    def judge(self, weights: Sequence[tf.Tensor]) -> Results:
        """What the protocol says of each set.

        Args:
          weights: values of all variables of the backbone, in its order.

        Raises:
          DataError: an image doesn't decode; names the set.
        """
        for variable, value in zip(self._network.variables, weights, strict=True):
            variable.assign(value)
        return {name: self._judge(name, pairs) for name, pairs in self._sets.items()}

    def _judge(self, name: str, pairs: PairSet) -> VerificationResult:
        raw, mirrored = list[np.ndarray](), list[np.ndarray]()
        try:
            with progress(total=pairs.images, description=f"verify {name}", unit="img") as bar:
                for pixels in pairs.batches(_IMAGES):
                    for found, embeddings in zip((raw, mirrored), self._embed(pixels), strict=True):
                        found.append(embeddings.numpy())
                    bar.update(len(raw[-1]))
        except tf.errors.InvalidArgumentError as error:
            raise DataError(
                f"verification set {name}: expected images that decode. Received: {in_short(error)}"
            ) from error
        sides = np.concatenate(raw), np.concatenate(mirrored)
        parts = [
            pair_distances(*(side[rows.ravel()] for side in sides))
            for rows in np.array_split(pairs.rows, -(-len(pairs.rows) // _PAIRS))
        ]
        distances, norms = (np.concatenate(part) for part in zip(*parts, strict=True))
        return evaluate(distances, pairs.is_same, norms, cut=self._folds)


def mean_accuracy(results: Results) -> float | None:
    """The mean over the sets that bear an accuracy; None where none does."""
    accuracies = [result.accuracy for result in results.values() if result.accuracy is not None]
    return sum(accuracies) / len(accuracies) if accuracies else None


def in_words(results: Results) -> str:
    """Accuracy and XNorm of each set, for people."""
    return ", ".join(
        f"{name} {of.accuracy:.4f} (XNorm {of.xnorm or math.nan:.2f})"
        if of.accuracy is not None
        else f"{name} - ({of.undefined['accuracy']})"
        for name, of in results.items()
    )


def write_verified(results: Results, step: int, folder: str) -> None:
    """Writes `verified.json` aside, then renames it into place: `step`, `accuracy` (the mean), and each set's figures.

    Args:
      results: by set.
      step: optimizer steps that were done.
      folder: that it goes to.
    """
    sets = {
        name: {"accuracy": of.accuracy, "accuracy_std": of.accuracy_std, "xnorm": of.xnorm, "pairs": of.pairs}
        for name, of in results.items()
    }
    content = json.dumps({"step": step, "accuracy": mean_accuracy(results), "sets": sets}, indent=2).encode()
    filesystem.write_file(os.path.join(folder, VERIFIED_FILE), content, folder)
