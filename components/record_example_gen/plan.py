"""Which record goes to which shard: a seeded global permutation, kept in a file of 20 bytes a record.

All is a function of the index, the identities and the settings, so that shards hold the same bytes whatever the runner,
the number of workers or the number of tries. Only numbers of shards ever go through Beam.
"""

import dataclasses

import numpy as np

from components import filesystem
from components.record_example_gen.settings import IngestSettings
from components.recordio import DatasetLayout
from trainer_module.errors import DataError
from trainer_module.features import HOLDOUT_SPLIT, TRAIN_SPLIT

# One record of the plan: its key, its byte offset in the `.rec`, and how many bytes to read there.
ENTRY = np.dtype([("key", "<i8"), ("offset", "<i8"), ("length", "<i4")])
_MAX_READ = 1 << 16  # a record that is longer is read in two steps; one of 112x112 pixels takes 2 to 20 KB


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard: entries `begin` .. `end` - 1 of the plan.

    Attributes:
      split: "train" or "holdout".
      shard: 0 .. shards - 1.
      shards: how many the split has.
      begin: first entry of the plan.
      end: one behind the last.
    """

    split: str
    shard: int
    shards: int
    begin: int
    end: int

    @property
    def name(self) -> str:
        """The shard's path below the Examples artifact."""
        return f"Split-{self.split}/data-{self.shard:05d}-of-{self.shards:05d}.tfrecord"


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which images are used, by their position in the layout.

    Attributes:
      splits: split -> int64 [n], positions in the order in which they are written.
      left_out_identities: how many had too few images.
      left_out_images: how many images those had.
    """

    splits: dict[str, np.ndarray]
    left_out_identities: int = 0
    left_out_images: int = 0

    @property
    def records(self) -> int:
        """How many images are used."""
        return sum(map(len, self.splits.values()))


def identities_from_ranges(layout: DatasetLayout) -> np.ndarray | None:
    """Which identity record claims each image.

    Returns:
      int64 [N], position of the identity record, -1 where none claims the image; None without a header record.

    Raises:
      DataError: two identity records claim one image.
    """
    if layout.num_identities is None:
        return None
    order = np.argsort(layout.identity_ranges[:, 0], kind="stable")
    begin, end = layout.identity_ranges[order, 0], layout.identity_ranges[order, 1] + 1
    if len(overlap := np.flatnonzero(begin[1:] < end[:-1])):
        first, second = order[overlap[0]], order[overlap[0] + 1]
        keys, ranges = layout.identity_keys, layout.identity_ranges
        raise DataError(
            f"identity record at key {keys[second]}: expected images that no other identity claims. Received: keys "
            f"{ranges[second, 0]} .. {ranges[second, 1]}, and {ranges[first, 0]} .. {ranges[first, 1]} in that at "
            f"key {keys[first]}"
        )
    place = np.searchsorted(begin, layout.image_keys, side="right") - 1
    claimed = (place >= 0) & (layout.image_keys < end[place])
    return np.where(claimed, order[place], -1)


def select(num_images: int, identity: np.ndarray | None, settings: IngestSettings) -> Selection:
    """Drops identities with too few images, holds images out, and shuffles what is left.

    Args:
      num_images: N.
      identity: int64 [N], whose image it is, -1 where unknown (such images are used, and never held out); may be None
        if the settings ask for neither.
      settings: seed, least number of images, share to hold out.

    Raises:
      DataError: no image is left.
    """
    order = np.random.default_rng(settings.seed).permutation(num_images)
    if identity is None:
        return Selection({TRAIN_SPLIT: order})
    known = identity >= 0
    counts = np.bincount(identity[known]) if known.any() else np.zeros(1, np.int64)
    images = np.where(known, counts[identity], num_images)  # how many the image's identity has
    used = images >= settings.min_images_per_identity
    order = order[used[order]]
    if not len(order):
        raise DataError(
            f"ingest.min_images_per_identity={settings.min_images_per_identity}: expected an identity with so many "
            f"images. Received: at most {counts.max()}"
        )
    dropped = counts[(counts > 0) & (counts < settings.min_images_per_identity)]
    splits = {TRAIN_SPLIT: order}
    if settings.holdout:
        held = _held_out(order, identity, counts, settings.holdout)
        if not held.any():
            raise DataError(
                f"ingest.holdout={settings.holdout}: expected identities with two images or more. Received: none"
            )
        splits = {TRAIN_SPLIT: order[~held], HOLDOUT_SPLIT: order[held]}
    return Selection(splits, len(dropped), int(dropped.sum()))


def _held_out(order: np.ndarray, identity: np.ndarray, counts: np.ndarray, share: float) -> np.ndarray:
    """Which places of the order are held out, bool: the first images of each identity in that order."""
    owners = identity[order]
    grouped = np.argsort(owners, kind="stable")
    owner = owners[grouped]
    starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    total = np.where(owner >= 0, counts[owner], 0)
    wanted = np.where(total >= 2, np.maximum(1, np.rint(total * share)), 0)
    held = np.empty(len(order), np.bool_)
    held[grouped] = rank < wanted
    return held


def write_plan(
    path: str, aside: str, layout: DatasetLayout, selection: Selection, rec_bytes: int, settings: IngestSettings
) -> list[ShardTask]:
    """Writes the plan's file and deals it out.

    Args:
      path: the file, replaced if it exists.
      aside: folder for the unfinished file.
      layout: of the data set.
      selection: of its images.
      rec_bytes: size of the `.rec` file.
      settings: number or size of shards.

    Returns:
      A task for every shard.
    """
    lengths = _read_lengths(layout.image_offsets, rec_bytes)
    per_image = rec_bytes / max(1, layout.num_images)
    tasks: list[ShardTask] = []
    begin = 0
    with filesystem.write_aside(path, aside) as file:
        for split, positions in selection.splits.items():
            shards = settings.shards if split == TRAIN_SPLIT and settings.shards else None
            shards = shards or max(1, round(len(positions) * per_image / (settings.shard_mb << 20)))
            shards = max(1, min(shards, len(positions)))
            for shard, part in enumerate(np.array_split(positions, shards)):
                entries = np.empty(len(part), ENTRY)
                entries["key"], entries["offset"] = layout.image_keys[part], layout.image_offsets[part]
                entries["length"] = lengths[part]
                file.write(entries.tobytes())
                tasks.append(ShardTask(split, shard, shards, begin, begin + len(part)))
                begin += len(part)
    return tasks


def read_plan(path: str, task: ShardTask) -> np.ndarray:
    """The entries of one shard, ENTRY [n]."""
    with filesystem.open_read(path) as file:
        file.seek(task.begin * ENTRY.itemsize)
        return np.frombuffer(file.read((task.end - task.begin) * ENTRY.itemsize), ENTRY)


def _read_lengths(offsets: np.ndarray, rec_bytes: int) -> np.ndarray:
    """Bytes up to the next image or the end of the file, at most 64 KiB: one read gets a whole record, int32 [N]."""
    ascending = bool(np.all(offsets[1:] > offsets[:-1]))
    ordered = offsets if ascending else np.unique(offsets)
    following = np.append(ordered[1:], max(rec_bytes, int(ordered[-1])))
    own = following if ascending else following[np.searchsorted(ordered, offsets)]
    return np.minimum(own - offsets, _MAX_READ).astype(np.int32)
