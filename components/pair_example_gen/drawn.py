"""The verification set that is drawn of the identities which RecordExampleGen kept out of training.

The pairs are a function of the images, their labels and keys, and the seed: neither shards nor workers change them.
"""

import dataclasses
import io
import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from arcface_common import features, filesystem
from arcface_common.console import progress
from arcface_common.digests import IMAGE_DIGESTS_FILE
from arcface_common.image_header import ImageError
from arcface_common.image_pixels import decode
from components.datasets.kept_faces import KeptFaces
from components.datasets.kept_out import KeepOut
from components.formats.pair_attributes import BETWEEN
from components.formats.tfrecord import read_records
from components.formats.verification_bin import VerificationSet
from components.formats.verification_resize import fit_images, resize_cubic
from components.pair_example_gen.sets import Limits, SetContent


@dataclasses.dataclass(frozen=True)
class DrawnSet:
    """A set that is drawn.

    Attributes:
      examples: folder of RecordExampleGen's Examples.
      split: folder of their split `verify`.
      data: folder of the data set, for messages.
      asked: how its pairs are drawn.
      limits: see there.
    """

    examples: str
    split: str
    data: str
    asked: KeepOut
    limits: Limits

    def read(self) -> SetContent:
        """Draws the pairs. Memory: 300 bytes an image of the split, and the images of the pairs, 75 MB for 6,000.

        Raises:
          DataError: fewer pairs than were asked for can be drawn, too few images can be used, or a shard is damaged.
        """
        keys, labels = self._keys_and_labels()
        self.asked.number(np.unique(labels, return_counts=True)[1], self.data, exact=True)
        order = np.lexsort((keys, labels))  # by person, then by key
        place_of = np.argsort(order)
        keys, labels = keys[order], labels[order]
        faces = KeptFaces(self.asked, labels, lambda place: f"key {keys[place]}")
        remarks = self._look(faces, place_of) + faces.leave_out(self._digests_of_training())
        found = faces.draw(self.data)
        wanted = set(found.places.tolist())
        images = {
            place: image
            for place, (_, _, image) in zip(place_of.tolist(), self._records(), strict=True)
            if place in wanted
        }
        pairs = VerificationSet([images[place] for place in found.places.tolist()], found.drawn.is_same)
        known = [_known(keys[both], labels[both]) for both in found.places.reshape(-1, 2)]
        fitted = fit_images(pairs, self.asked.name, self.limits.max_image_pixels)
        return SetContent(fitted, known, (found.line(), *remarks, *found.remarks))

    def _records(self) -> Iterator[tuple[int, int, bytes]]:
        """Key, label and image of each record, in the order of the shards."""
        for path in sorted(filesystem.files_below(self.split)):
            for record in read_records(path):
                feature = tf.train.Example.FromString(record).features.feature
                key, label = (feature[name].int64_list.value[0] for name in (features.KEY, features.LABEL))
                yield key, label, feature[features.IMAGE].bytes_list.value[0]

    def _keys_and_labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each record, int64 [N] each."""
        found = np.array([(key, label) for key, label, _ in self._records()], np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def _look(self, faces: KeptFaces, place_of: np.ndarray) -> list[str]:
        """Looks at each image once; says which can't be used."""
        unusable = []
        records = zip(place_of.tolist(), self._records(), strict=True)
        for place, (key, _, image) in progress(records, total=len(place_of), description="kept out", unit="img"):
            try:
                pixels = decode(image, self.limits.max_image_pixels, features.MAX_PIXELS_SETTING)
                if pixels.shape[0] != pixels.shape[1]:
                    raise ImageError(f"expected a square image. Received: {pixels.shape[1]}x{pixels.shape[0]}")
            except ImageError as error:
                unusable.append(f"key {key}: {error}")
                continue
            faces.add(place, image, pixels if len(pixels) == features.IMAGE_SIZE else resize_cubic(pixels))
        if not unusable:
            return []
        return [f"warning: images that can't be used, left out: {len(unusable):,} ({unusable[0]})"]

    def _digests_of_training(self) -> np.ndarray:
        """`image_digest` of each image that is trained on, uint64 [N]."""
        content = filesystem.read_file(os.path.join(self.examples, IMAGE_DIGESTS_FILE))
        return np.load(io.BytesIO(content), allow_pickle=False)


def _known(keys: np.ndarray, labels: np.ndarray) -> dict[str, list[bytes]]:
    """The optional features of a pair of records, int64 [2] each."""
    return {
        features.IDENTITIES: [str(label).encode() for label in np.unique(labels)],
        features.FILES: [BETWEEN.join(f"key {key}" for key in keys).encode()],
    }
