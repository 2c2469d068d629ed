"""Which record goes to which shard: a seeded global permutation, kept in a file of 20 bytes a record.

All is a function of the index, the identities and the settings, so that shards hold the same bytes whatever the runner,
the number of workers or the number of tries. Only numbers of shards ever go through Beam.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from arcface_common import filesystem
from arcface_common.errors import DataError
from arcface_common.features import HOLDOUT_SPLIT, TRAIN_SPLIT, VERIFY_SPLIT
from components.datasets.kept_out import KeepOut
from components.formats.recordio import DatasetLayout
from components.record_example_gen.settings import IngestSettings

# One record of the plan: its key, its byte offset in the `.rec`, and how many bytes to read there.
ENTRY = np.dtype([("key", "<i8"), ("offset", "<i8"), ("length", "<i4")])
_MAX_READ = 1 << 16  # a record that is longer is read in two steps; one of 112x112 pixels takes 2 to 20 KB


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard: entries `begin` .. `end` - 1 of the plan.

    Attributes:
      split: "train", "holdout" or "verify".
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


def select(
    num_images: int,
    identity: np.ndarray | None,
    settings: IngestSettings,
    rec: str = "",
    names: Mapping[int, str] | None = None,
) -> Selection:
    """Drops identities with too few images, keeps identities out, holds images out, and shuffles what is left.

    Args:
      num_images: N.
      identity: int64 [N], whose image it is, -1 where unknown (such images are used, and never held out); may be None
        if the settings ask for none of that.
      settings: seed, least number of images, shares to keep and to hold out.
      rec: the `.rec` file, for messages.
      names: label -> name of its identity, by which is chosen whom to keep out, as `convert` does; None, or names that
        lack a label, for the labels themselves.

    Raises:
      DataError: no image is left, or too few identities to keep out.
    """
    order = np.random.default_rng(settings.seed).permutation(num_images)
    if identity is None:
        return Selection({TRAIN_SPLIT: order})
    counts = _counts(identity)
    used = (counts >= settings.min_images_per_identity) | (identity < 0)
    order = order[used[order]]
    if not len(order):
        raise DataError(
            f"ingest.min_images_per_identity={settings.min_images_per_identity}: expected an identity with so many "
            f"images. Received: at most {counts.max(initial=0)}"
        )
    left_out = (len(np.unique(identity[~used])), int(np.count_nonzero(~used)))
    kept = np.zeros(len(order), np.bool_)
    if settings.verify_identities:
        kept = _kept_out(order, identity, settings, rec, names or {})
    of_kept, order = order[kept], order[~kept]
    splits = {TRAIN_SPLIT: order}
    if settings.holdout:
        held = _held_out(order, identity, counts, settings.holdout)
        if not held.any():
            raise DataError(
                f"ingest.holdout={settings.holdout}: expected identities with two images or more. Received: none"
            )
        splits = {TRAIN_SPLIT: order[~held], HOLDOUT_SPLIT: order[held]}
    if settings.verify_identities:
        splits[VERIFY_SPLIT] = of_kept
    return Selection(splits, *left_out)


def _counts(identity: np.ndarray) -> np.ndarray:
    """How many images each image's identity has, int64 [N]; by sorting: a label may be as large as 2**24 - 1."""
    _, place, counts = np.unique(identity, return_inverse=True, return_counts=True)
    return counts[place]


def _kept_out(
    order: np.ndarray, identity: np.ndarray, settings: IngestSettings, rec: str, names: Mapping[int, str]
) -> np.ndarray:
    """Which places of the order hold an image of an identity that is kept out of training, bool [n].

    Raises:
      DataError: too few identities, or too few images of theirs for 20 pairs.
    """
    owners = identity[order]
    labels, counts = np.unique(owners[owners >= 0], return_counts=True)
    asked = KeepOut(settings.verify_identities, seed=settings.seed, name=VERIFY_SPLIT)
    known = labels.tolist()
    called = [names[label] for label in known] if all(label in names for label in known) else list(map(str, known))
    chosen = asked.choose(dict(zip(called, counts.tolist(), strict=True)), rec)
    return np.isin(owners, [label for label, name in zip(known, called, strict=True) if name in chosen])


def _held_out(order: np.ndarray, identity: np.ndarray, counts: np.ndarray, share: float) -> np.ndarray:
    """Which places of the order are held out, bool [n].

    As many as `share` of all, at least one: the first of the order, which is random. But of an identity with c images
    at most c * share, rounded up, and never the last one; where so many can't be had, all that can.
    """
    owners = identity[order]
    grouped = np.argsort(owners, kind="stable")
    owner = owners[grouped]
    starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    rank = np.empty(len(order), np.int64)  # how many images of the same identity come before
    rank[grouped] = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    total = counts[order]
    most = np.where(owners >= 0, np.minimum(np.ceil(total * share), total - 1), 0)
    candidates = np.flatnonzero(rank < most)
    held = np.zeros(len(order), np.bool_)
    held[candidates[: max(1, round(len(order) * share))]] = True
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

    Raises:
      DataError: more shards are asked for than there are images.
    """
    if settings.shards > len(selection.splits[TRAIN_SPLIT]):
        raise DataError(
            f"ingest.shards={settings.shards}: expected at most one an image. "
            f"Received: {len(selection.splits[TRAIN_SPLIT])} images to train on"
        )
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
