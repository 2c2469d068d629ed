"""Writes shards, each by itself, and keeps what a finished one holds: so that a second try redoes no shard.

Imports neither Beam nor TensorFlow, so that a process that writes shards takes 50 MB and starts in 0.3 s.
"""

import contextlib
import dataclasses
import io
import json
import os
from typing import Self

import numpy as np

from arcface_common import features, filesystem
from arcface_common.digests import image_digest
from arcface_common.errors import DataError
from arcface_common.image_header import UPRIGHT, ImageError
from components.formats.tfrecord import tfrecord_aside
from components.record_example_gen.checks import RecordCheck
from components.record_example_gen.encode import train_record
from components.record_example_gen.plan import ShardTask, read_plan
from components.record_example_gen.settings import IngestSettings
from components.record_example_gen.source import ImageSource

PLAN_FILE = "plan.bin"
UNFINISHED = "unfinished"
_FAILED = "failed"  # there as soon as one shard has failed: no other is begun then
_ARRAYS = ("keys", "labels", "digests", "unnamed")  # of a shard's content
QUARANTINE = "quarantine"
QUARANTINE_LIST = "records.jsonl"  # in that folder: key, offset and reason of each


@dataclasses.dataclass(frozen=True)
class ShardContent:
    """What a finished shard holds; its presence beside the shard says that the shard is finished.

    Attributes:
      keys: int64 [n], record keys in the order in which they were written.
      labels: int32 [n].
      digests: uint64 [n], `image_digest` of each image.
      image_bytes: sum of the images' sizes.
      file_bytes: size of the shard.
      bad: of each record that was quarantined, its key, byte offset and reason.
      turned: images that were turned as their EXIF orientation says, and are PNGs now.
      unnamed: int64 [m, 2], see `ImageSource`.
    """

    keys: np.ndarray
    labels: np.ndarray
    digests: np.ndarray
    image_bytes: int
    file_bytes: int
    bad: list[tuple[int, int, str]]
    turned: int = 0
    unnamed: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 2), np.int64))

    def to_bytes(self) -> bytes:
        """As a file."""
        scalars = ("image_bytes", "file_bytes", "bad", "turned")
        values = {name: getattr(self, name) for name in scalars}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        buffer = io.BytesIO()
        np.savez(buffer, values=json.dumps(values), **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The inverse of `to_bytes`."""
        with np.load(io.BytesIO(content)) as arrays:
            values = json.loads(str(arrays["values"]))
            values["bad"] = [tuple(entry) for entry in values["bad"]]
            return cls(**{name: arrays[name] for name in _ARRAYS}, **values)


@dataclasses.dataclass(frozen=True)
class ShardStore:
    """Finished shards of one plan, in a folder that outlives a try.

    Attributes:
      folder: of this plan alone.
    """

    folder: str

    @property
    def plan(self) -> str:
        """The plan's file."""
        return os.path.join(self.folder, PLAN_FILE)

    @property
    def aside(self) -> str:
        """Folder of unfinished files."""
        return os.path.join(self.folder, UNFINISHED)

    @property
    def failed(self) -> str:
        """File that says why the job has failed: what is wrong with a record."""
        return os.path.join(self.folder, _FAILED)

    def shard(self, task: ShardTask) -> str:
        """The shard's TFRecord file."""
        return os.path.join(self.folder, task.name)

    def content_path(self, task: ShardTask) -> str:
        """The file that says what the shard holds, written last."""
        return f"{self.shard(task)}.npz"

    def content(self, task: ShardTask) -> ShardContent | None:
        """What a finished shard holds; None if it isn't finished."""
        path = self.content_path(task)
        if not filesystem.exists(path):
            return None
        content = ShardContent.from_bytes(filesystem.read_file(path))
        shard = self.shard(task)
        # A host that lost power may have kept the name of a file and not its bytes.
        whole = filesystem.exists(shard) and filesystem.size(shard) == content.file_bytes
        return content if whole else None


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """All that it takes to write any shard of a plan.

    Memory: one record at a time, and 40 bytes a record for plan and content (21,000 records of 6 KB a shard: 0.8 MB).

    Attributes:
      rec: the `.rec` file.
      store: where plan and shards lie.
      settings: what to do about bad records.
      records: how many there are in all shards.
    """

    rec: str
    store: ShardStore
    settings: IngestSettings
    records: int

    def write(self, task: ShardTask) -> None:
        """Writes a shard, unless a former try has, or another shard has failed.

        Bad input is noted in the store, and no exception: Beam would wrap it in its own, and the user's exit code
        depends on it.
        """
        if self.store.content(task) is not None or filesystem.exists(self.store.failed):
            return
        try:
            content = self._write(task)
        except DataError as error:
            filesystem.write_file(self.store.failed, str(error).encode(), self.store.aside)
            return
        filesystem.write_file(self.store.content_path(task), content.to_bytes(), self.store.aside)

    def _write(self, task: ShardTask) -> ShardContent:
        entries = read_plan(self.store.plan, task)
        check = RecordCheck(self.settings.any_size, self.settings.decode, self.settings.max_image_pixels)
        keys, labels, digests, image_bytes, turned = [], [], [], 0, 0
        bad: list[tuple[int, int, str]] = []
        with (
            contextlib.closing(ImageSource(self.rec)) as source,
            tfrecord_aside(self.store.shard(task), self.store.aside, int(entries["length"].sum())) as writer,
        ):
            for key, label, image, wrong in source.images(entries):
                if wrong is None:
                    wrong = check(label, image)
                    if wrong is None and check.orientation != UPRIGHT:
                        image, wrong = self._upright(image)
                        turned += wrong is None
                    if wrong is not None:
                        wrong = f"{self.rec}, key {key}, byte offset {_offset(entries, key)}: {wrong}"
                if wrong is not None:
                    bad.append((key, _offset(entries, key), wrong))
                    self._quarantine(key, image, wrong, len(bad))
                    continue
                number, digest = int(label), image_digest(image)
                writer.write_framed(train_record(image, digest, key, number))
                keys.append(key)
                labels.append(number)
                digests.append(digest)
                image_bytes += len(image)
        return ShardContent(
            np.array(keys, np.int64),
            np.array(labels, np.int32),
            np.array(digests, np.uint64),
            image_bytes,
            filesystem.size(self.store.shard(task)),
            bad,
            turned,
            np.array(source.unnamed, np.int64).reshape(-1, 2),
        )

    def _upright(self, image: bytes) -> tuple[bytes, str | None]:
        """The image turned as its EXIF orientation says, and what is wrong with it where it doesn't decode."""
        from arcface_common.image_pixels import upright  # Pillow, 40 ms, for the few data sets with such images

        try:
            return upright(image, self.settings.max_image_pixels, features.MAX_PIXELS_SETTING), None
        except ImageError as error:
            return image, str(error)

    def _quarantine(self, key: int, content: bytes, reason: str, number: int) -> None:
        """Writes a bad record aside, or raises where that isn't wanted or they are too many."""
        if self.settings.on_bad_record == "fail":
            raise DataError(reason)
        check_share(number, self.records, self.settings, reason)
        suffix = {features.IMAGE_MAGICS[0]: ".jpg", features.IMAGE_MAGICS[1]: ".png"}
        ending = next((s for magic, s in suffix.items() if content.startswith(magic)), ".bin")
        path = os.path.join(self.store.folder, QUARANTINE, f"{key}{ending}")
        filesystem.write_file(path, content, self.store.aside)


def _offset(entries: np.ndarray, key: int) -> int:
    return int(entries["offset"][entries["key"] == key][0])


def check_share(bad: int, records: int, settings: IngestSettings, example: str) -> None:
    """Checks that no more records are bad than allowed.

    Raises:
      DataError: more than `max_bad_share` of all.
    """
    if bad > settings.max_bad_share * records:
        raise DataError(
            f"{example}. Expected at most {settings.max_bad_share:g} of {records} records to be bad "
            f"(ingest.max_bad_share). Received: {bad} or more"
        )
