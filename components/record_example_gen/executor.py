"""Work of RecordExampleGen: a global permutation of index entries, then shards written independently of each other."""

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tfx import types
from tfx.types import artifact_utils

from components import recordio
from components.example_gen_base import (
    FolderExampleGenExecutor,
    begin_examples,
    serialized_example,
    tfrecord_aside,
)
from trainer_module import features
from trainer_module.console import progress
from trainer_module.errors import DataError


def open_remote(path: str) -> Any:
    """Opens a file for reading on any file system that TensorFlow knows."""
    return tf.io.gfile.GFile(path, "rb")


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard's worth of index entries: 16 bytes a record, the only thing that Beam ever shuffles.

    Attributes:
      shard: 0 .. shards - 1.
      shards: how many there are.
      keys: int64 [n], record keys in the order in which they are written.
      offsets: int64 [n], byte offsets in the `.rec` file.
    """

    shard: int
    shards: int
    keys: np.ndarray
    offsets: np.ndarray


@dataclasses.dataclass(frozen=True)
class ShardSummary:
    """What was written: counts, the different labels seen, the first bad record of each shard that had one."""

    records: int = 0
    image_bytes: int = 0
    labels: tuple[int, ...] = ()
    errors: tuple[str, ...] = ()

    @staticmethod
    def merge(summaries: Iterable["ShardSummary"]) -> "ShardSummary":
        """The sum of any number of summaries, in any order."""
        parts = list(summaries)
        return ShardSummary(
            sum(part.records for part in parts),
            sum(part.image_bytes for part in parts),
            tuple(sorted(set().union(*(part.labels for part in parts)))),
            tuple(sorted(error for part in parts for error in part.errors)),
        )


def read_dataset(input_base: str) -> recordio.DatasetLayout:
    """Which records of a data set's folder are images.

    Without `train.idx`, the index is rebuilt by one scan of `train.rec`.

    Raises:
      DataError: a file is missing, or is not what its format says.
    """
    rec, idx = os.path.join(input_base, recordio.REC_FILE), os.path.join(input_base, recordio.IDX_FILE)
    if not tf.io.gfile.exists(rec):
        raise DataError(f"{rec}: expected a RecordIO file as InsightFace publishes it. Received: no such file")
    with recordio.RecordReader(rec, open_file=open_remote) as reader:
        has_index = tf.io.gfile.exists(idx)
        index = recordio.read_index(idx, open_file=open_remote) if has_index else recordio.rebuild_index(reader)
        return recordio.read_layout(reader, index)


def plan_shards(layout: recordio.DatasetLayout, shards: int, seed: int) -> list[ShardTask]:
    """Deals a seeded global permutation of the images out to shards.

    A function of its arguments alone, so that the shards hold the same bytes whatever the runner.
    """
    order = np.random.default_rng(seed).permutation(layout.num_images)
    return [
        ShardTask(shard, shards, layout.image_keys[part], layout.image_offsets[part])
        for shard, part in enumerate(np.array_split(order, shards))
    ]


class WriteShard(beam.DoFn):
    """Reads a task's records and writes them as one TFRecord shard; yields a ShardSummary."""

    def __init__(self, rec: str, split_uri: str, aside: str) -> None:
        """Keeps the paths.

        Args:
          rec: the `.rec` file.
          split_uri: where finished shards go.
          aside: where unfinished ones lie.
        """
        self._rec = rec
        self._split_uri = split_uri
        self._aside = aside

    def process(self, task: ShardTask) -> Iterator[ShardSummary]:
        """Writes the shard. A bad record is yielded as an error, which the executor raises with its own type."""
        path = os.path.join(self._split_uri, f"data-{task.shard:05d}-of-{task.shards:05d}.tfrecord")
        labels, image_bytes = set(), 0
        entries = progress(
            zip(task.keys.tolist(), task.offsets.tolist(), strict=True),
            total=len(task.keys),
            description=f"shard {task.shard + 1} of {task.shards}",
            unit="img",
        )
        try:
            with (
                recordio.RecordReader(self._rec, open_file=open_remote) as reader,
                tfrecord_aside(path, self._aside) as writer,
                entries,
            ):
                for key, offset in entries:
                    label, image = read_image(reader, key, offset)
                    writer.write(serialized_example({features.IMAGE: image, features.LABEL: label, features.KEY: key}))
                    labels.add(label)
                    image_bytes += len(image)
        except DataError as error:
            yield ShardSummary(errors=(str(error),))
            return
        yield ShardSummary(len(task.keys), image_bytes, tuple(labels))


def read_image(reader: recordio.RecordReader, key: int, offset: int) -> tuple[int, bytes]:
    """The identity and the encoded image of one record.

    Raises:
      DataError: the label is no identity, or the payload no JPEG or PNG.
    """
    record = reader.read(offset, key=key)
    place = f"{reader.path}, key {key}, byte offset {offset}"
    if record.label < 0 or record.label != int(record.label):
        raise DataError(f"{place}: expected a label that is an identity 0, 1, 2 ... Received: {record.label}")
    if not record.payload.startswith(features.IMAGE_MAGICS):
        raise DataError(
            f"{place}: expected a JPEG or PNG image. Received: bytes {record.payload[:8].hex(' ') or 'none'}"
        )
    return int(record.label), record.payload


class RecordExampleGenExecutor(FolderExampleGenExecutor):
    """Writes the split `train`.

    Memory: a worker holds one record at a time; the plan takes 16 bytes a record (5.8 million: 93 MB).
    """

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the Beam job.

        Raises:
          DataError: the folder is not what InsightFace publishes; names the file, the key and the byte offset.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        options = json.loads(exec_properties["options"])
        input_base = exec_properties["input_base"]
        layout = read_dataset(input_base)
        rec = os.path.join(input_base, recordio.REC_FILE)
        shards = max(1, round(tf.io.gfile.stat(rec).length / options["shard_bytes"]))
        tasks = plan_shards(layout, min(shards, layout.num_images), options["seed"])

        examples = begin_examples(output_dict, [features.TRAIN_SPLIT])
        split_uri = artifact_utils.get_split_uri([examples], features.TRAIN_SPLIT)
        summary = self.write_examples(
            examples, tasks, lambda aside: WriteShard(rec, split_uri, aside), ShardSummary.merge
        )
        _check_identities(layout, summary, rec)
        examples.set_int_custom_property("records", summary["records"])
        examples.set_int_custom_property("identities", len(summary["labels"]))
        examples.set_int_custom_property("bytes", summary["image_bytes"])


def _check_identities(layout: recordio.DatasetLayout, summary: dict[str, Any], rec: str) -> None:
    """The header record's number of identities must be the number of labels seen."""
    announced = layout.num_identities
    if announced is not None and announced != len(summary["labels"]):
        raise DataError(
            f"{rec}: expected {announced} identities, as its header record says. "
            f"Received: {len(summary['labels'])} different labels in {summary['records']} images"
        )
