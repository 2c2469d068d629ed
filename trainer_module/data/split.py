"""A split of the training data: its shards, how many records they hold, and what reads them."""

import dataclasses
import json
import os

import tensorflow as tf

from arcface_common import filesystem
from arcface_common.artifacts import RECORD_COUNTS_FILE


@dataclasses.dataclass(frozen=True)
class Split:
    """A split of train Examples.

    Attributes:
      patterns: globs of its TFRecord shards.
      transform_graph: path of Transform's output, which maps labels to classes.
      any_size: images may have other sizes than 112x112, and are resized.
    """

    patterns: list[str]
    transform_graph: str
    any_size: bool = False

    def shards(self) -> list[str]:
        """Its files, sorted.

        Raises:
          FileNotFoundError: no shard matches.
        """
        files = sorted(path for pattern in self.patterns for path in tf.io.gfile.glob(pattern))
        if not files:
            raise FileNotFoundError(f"expected TFRecord shards of a split. Received: patterns={self.patterns!r}")
        return files

    def noted_counts(self) -> list[int] | None:
        """Records of each shard as RecordExampleGen noted them; None where it didn't write them."""
        files = self.shards()
        noted = os.path.join(os.path.dirname(os.path.dirname(files[0])), RECORD_COUNTS_FILE)
        if not filesystem.exists(noted):
            return None
        counts = json.loads(filesystem.read_file(noted))
        return [counts["/".join(path.split("/")[-2:])] for path in files]

    def record_counts(self) -> list[int]:
        """Records of each shard: as noted, or else counted, which reads them all."""
        noted = self.noted_counts()
        return [_count(path) for path in self.shards()] if noted is None else noted


def _count(path: str) -> int:
    return int(tf.data.TFRecordDataset(path).reduce(tf.constant(0, tf.int64), lambda count, _: count + 1))
