"""Verification sets as PairExampleGen wrote them, for judging a network while it trains."""

import dataclasses

import numpy as np
import tensorflow as tf

from arcface_common import features
from arcface_common.digests import image_digest
from arcface_common.features import IMAGE_SIZE
from arcface_common.protocol.conditions import Cut
from trainer_module.data.images import decode_stored, over_batch

_SPEC = {
    features.IMAGE_A: tf.io.FixedLenFeature([], tf.string),
    features.IMAGE_B: tf.io.FixedLenFeature([], tf.string),
    features.IS_SAME: tf.io.FixedLenFeature([], tf.int64),
    features.PAIR_INDEX: tf.io.FixedLenFeature([], tf.int64),
}


@dataclasses.dataclass(frozen=True)
class PairSplits:
    """The sets that a training is judged by.

    Attributes:
      patterns: name of a set -> globs of its TFRecord shards.
      folds: how the protocol cuts its folds.
    """

    patterns: dict[str, list[str]]
    folds: Cut = "contiguous"


class PairSet:
    """A verification set of N pairs, of which each distinct image is decoded once; no image stays in memory.

    Attributes:
      is_same: bool [N], in the published order.
      rows: int64 [N, 2], the places of both images of each pair among those of `batches`.
      images: how many distinct ones there are.
    """

    def __init__(self, patterns: list[str]) -> None:
        """Reads the set once.

        Args:
          patterns: globs of its TFRecord shards.

        Raises:
          FileNotFoundError: no shard matches.
        """
        files = sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
        if not files:
            raise FileNotFoundError(f"expected TFRecord shards of a verification set. Received: patterns={patterns!r}")
        self._examples = tf.data.TFRecordDataset(files).map(lambda record: tf.io.parse_single_example(record, _SPEC))
        place: dict[int, int] = {}
        is_first, pairs = [], []
        for example in self._examples.as_numpy_iterator():
            rows = []
            for feature in (features.IMAGE_A, features.IMAGE_B):
                digest = image_digest(example[feature])
                is_first.append(digest not in place)
                rows.append(place.setdefault(digest, len(place)))
            pairs.append((int(example[features.PAIR_INDEX]), bool(example[features.IS_SAME]), rows))
        pairs.sort()
        self.is_same = np.array([same for _, same, _ in pairs], bool)
        self.rows = np.array([rows for _, _, rows in pairs], np.int64).reshape(-1, 2)
        self.images = len(place)
        self._is_first = np.array(is_first, bool)

    def batches(self, size: int) -> tf.data.Dataset:
        """Pixels of the distinct images: uint8 [size, 112, 112, 3] RGB, the last batch what is left."""
        images = self._examples.map(lambda example: tf.stack([example[features.IMAGE_A], example[features.IMAGE_B]]))
        numbered = tf.data.Dataset.zip(images.unbatch(), tf.data.Dataset.from_tensor_slices(self._is_first))
        distinct = numbered.filter(lambda _, is_first: is_first).map(lambda image, _: image).batch(size)
        # PairExampleGen hands on images of 112x112 pixels, upright.
        decoded = distinct.map(
            lambda image_bytes: over_batch(decode_stored, image_bytes, IMAGE_SIZE), num_parallel_calls=tf.data.AUTOTUNE
        )
        return decoded.prefetch(2)
