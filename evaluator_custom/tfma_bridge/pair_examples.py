"""What the evaluator reads from Examples beside the distances: digests, attributes, identities, and a few images."""

import dataclasses
import functools
import io
import os
from collections.abc import Mapping, Sequence
from typing import overload

import numpy as np
import tensorflow as tf

from arcface_common import features
from arcface_common.console import progress
from arcface_common.digests import IDENTITIES_FILE, IMAGE_DIGESTS_FILE, image_digest
from arcface_common.errors import DataError
from arcface_common.protocol.leaks import TrainingContent

_HEAD_BYTES, _FOOT_BYTES = 12, 4  # around each record of a TFRecord file: length and checksums


class PairImages(Sequence[bytes]):
    """The 2N encoded images of a set, each read when it is asked for: a set may be larger than memory."""

    def __init__(self, places: Sequence[tuple[str, int, int]]) -> None:
        """Keeps where the Examples are.

        Args:
          places: (TFRecord file, byte offset, length) of the Example of each pair.
        """
        self._places = places
        self._example = functools.lru_cache(maxsize=1)(self._read)  # both images of a pair are asked for in turn

    def __len__(self) -> int:
        """2N."""
        return 2 * len(self._places)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        """Image `index`; pair i is images 2i and 2i + 1."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        pair, side = divmod(range(len(self))[index], 2)
        return _image(self._example(pair), side)

    def _read(self, pair: int) -> tf.train.Example:
        path, offset, length = self._places[pair]
        with tf.io.gfile.GFile(path, "rb") as file:
            file.seek(offset)
            return tf.train.Example.FromString(file.read(length))


@dataclasses.dataclass(frozen=True)
class PairExamples:
    """A set of N pairs, in the published order.

    Attributes:
      images: the 2N images.
      digests: `image_digest` of each image, uint64 [N, 2].
      attributes: column -> value of each pair, "" where it isn't known.
      identities: of each pair, the labels of the people in it, as far as they are known.
      files: names of both images of each pair, "" where they aren't known.
    """

    images: PairImages
    digests: np.ndarray
    attributes: Mapping[str, Sequence[str]]
    identities: Sequence[Sequence[str]]
    files: Sequence[str]


def read_pair_examples(split_uri: str, name: str) -> PairExamples:
    """Reads a split of PairExampleGen once, from end to end; no image stays in memory.

    Args:
      split_uri: folder of the split's TFRecord files.
      name: of the set, for the progress bar.

    Returns:
      The set.
    """
    rows = []
    for file in sorted(tf.io.gfile.listdir(split_uri)):
        path = os.path.join(split_uri, file)
        offset = _HEAD_BYTES
        records = tf.data.TFRecordDataset(path).as_numpy_iterator()
        for record in progress(records, total=None, description=f"digest {name}", unit="pair"):
            example = tf.train.Example.FromString(record)
            index = example.features.feature[features.PAIR_INDEX].int64_list.value[0]
            digests = [image_digest(_image(example, side)) for side in (0, 1)]
            texts = [_texts(example, feature) for feature in (features.ATTRIBUTES, features.IDENTITIES, features.FILES)]
            rows.append((index, (path, offset, len(record)), digests, *texts))
            offset += len(record) + _FOOT_BYTES + _HEAD_BYTES
    rows.sort(key=lambda row: row[0])
    known = [dict(text.split("=", 1) for text in row[3]) for row in rows]
    columns = sorted({column for values in known for column in values})
    return PairExamples(
        images=PairImages([row[1] for row in rows]),
        digests=np.array([row[2] for row in rows], np.uint64).reshape(-1, 2),
        attributes={column: [values.get(column, "") for values in known] for column in columns},
        identities=[row[4] for row in rows],
        files=["".join(row[5]) for row in rows],
    )


def read_training_content(examples_uri: str) -> TrainingContent | None:
    """Reads what RecordExampleGen wrote beside its splits; None where it isn't there.

    Raises:
      DataError: a file is damaged.
    """
    arrays = []
    for name, dtype in ((IMAGE_DIGESTS_FILE, np.uint64), (IDENTITIES_FILE, np.int64)):
        path = os.path.join(examples_uri, name)
        if not tf.io.gfile.exists(path):
            return None
        with tf.io.gfile.GFile(path, "rb") as file:
            try:
                found = np.load(io.BytesIO(file.read()), allow_pickle=False)
                if found.ndim != 1 or found.dtype != dtype:
                    raise ValueError(f"{found.dtype} {list(found.shape)}")
            except (ValueError, EOFError, AttributeError) as error:
                raise DataError(f"{path}: expected an array {np.dtype(dtype)} [N]. Received: {error}") from error
            arrays.append(found)
    return TrainingContent(*arrays)


def _image(example: tf.train.Example, side: int) -> bytes:
    feature = (features.IMAGE_A, features.IMAGE_B)[side]
    return bytes(example.features.feature[feature].bytes_list.value[0])


def _texts(example: tf.train.Example, feature: str) -> list[str]:
    return [value.decode() for value in example.features.feature[feature].bytes_list.value]
