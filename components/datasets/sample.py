"""A small part of a data set's folder, as a folder of the same kind: a run of it shows in minutes that all works."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from components.formats import recordio, verification_bin
from components.record_example_gen.labels import read_labels

_IMAGES = 400
_IMAGES_OF_ONE = 10
_PAIRS = 40  # of a verification set
_LOOKED_AT = 20_000  # records, from the first one on: 100 MB


@dataclasses.dataclass(frozen=True)
class RecordCounts:
    """What a data set has to train on.

    Attributes:
      images: how many.
      identities: how many.
    """

    images: int
    identities: int


def sample_records(folder: str, target: Path, least: int = 1) -> RecordCounts:
    """Copies the images of the identities that have most among the first records, at most ten of each; 400 in all.

    Args:
      folder: of `train.rec`, on any file system.
      target: an existing folder, in which `train.rec` and `train.idx` are written. Keys and labels stay as they are.
      least: identities with fewer images don't count.

    Returns:
      What the whole data set has.

    Raises:
      DataError: no such data set, or a record that can't be read.
    """
    rec, layout = recordio.rec_path(folder), recordio.read_dataset(folder)
    announced = layout.num_identities is not None
    first = slice(_LOOKED_AT if announced else None)
    part = dataclasses.replace(layout, image_keys=layout.image_keys[first], image_offsets=layout.image_offsets[first])
    labels = read_labels(part, rec)
    chosen = _chosen(labels, max(least, _IMAGES_OF_ONE))
    keys, offsets = part.image_keys[chosen], part.image_offsets[chosen]
    with recordio.RecordReader(rec) as reader, recordio.RecordWriter(target / recordio.REC_FILE) as writer:
        entries = zip(keys.tolist(), offsets.tolist(), strict=True)
        written = [writer.append(reader.read_at(offset, key=key)) for key, offset in entries]
    recordio.write_index(str(target / recordio.IDX_FILE), keys, written)
    if announced:
        counts = layout.identity_ranges[:, 1] - layout.identity_ranges[:, 0] + 1
    else:
        counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    used = counts[counts >= max(1, least)]
    return RecordCounts(int(used.sum()), len(used))


def _chosen(labels: np.ndarray, most: int) -> np.ndarray:
    """Places of the images that are copied, ascending; without any label, of the first ones.

    Args:
      labels: int64 [N], negative where there is none.
      most: images of an identity.
    """
    places = np.flatnonzero(labels >= 0)
    _, owners, counts = np.unique(labels[places], return_inverse=True, return_counts=True)
    chosen = list[int]()
    for owner in np.argsort(-counts, kind="stable"):
        if len(chosen) >= _IMAGES:
            break
        chosen += places[owners == owner][:most].tolist()
    return np.sort(np.array(chosen or range(min(_IMAGES, len(labels))), np.int64))


def sample_set(folder: str, target: Path, name: str, max_set_mb: int) -> int:
    """Copies the first pairs of each kind of a verification set, in turn; 40 in all.

    Args:
      folder: of `<name>.bin`, on any file system.
      target: an existing folder, in which a file of the same name is written.
      name: of the set.
      max_set_mb: MiB that the set may have.

    Returns:
      How many pairs the whole set has.

    Raises:
      DataError: it is no verification set, or larger.
    """
    file = f"{name}.bin"
    whole = verification_bin.read(os.path.join(folder, file), max_set_mb=max_set_mb)
    kinds = [np.flatnonzero(whole.is_same == same)[: _PAIRS // 2] for same in (True, False)]
    of_each = min(map(len, kinds))
    pairs = np.stack([kind[:of_each] for kind in kinds], axis=1).ravel() if of_each else np.arange(len(whole))[:_PAIRS]
    images = [whole.images[2 * pair + side] for pair in pairs.tolist() for side in (0, 1)]
    verification_bin.write(target / file, images, whole.is_same[pairs])
    return len(whole)
