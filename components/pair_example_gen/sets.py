"""A verification set before it is written: its images as they are evaluated, and what is known of its pairs."""

import dataclasses
from typing import NamedTuple

from arcface_common import features, filesystem
from components.formats import pair_attributes
from components.formats.verification_resize import FittedSet, read_fitted


class SetContent(NamedTuple):
    """A set of N pairs.

    Attributes:
      fitted: its images.
      known: the optional features of each pair.
      remarks: what is odd about it, a sentence each.
    """

    fitted: FittedSet
    known: list[dict[str, list[bytes]]]
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a set may cost.

    Attributes:
      max_image_pixels: width times height of an image at most.
      max_set_mb: MiB of images that a set may become: one image of many pairs is written with each of them.
    """

    max_image_pixels: int = features.MAX_IMAGE_PIXELS
    max_set_mb: int = features.MAX_SET_MB


@dataclasses.dataclass(frozen=True)
class FileSet:
    """A set that is published as `<set>.bin`, with its CSV of attributes, if there is one.

    Attributes:
      path: the file.
      limits: see there.
    """

    path: str
    limits: Limits

    def read(self) -> SetContent:
        """Reads it; memory: the file, 100 MB for 7,000 pairs.

        Raises:
          DataError: a file is not what its format says, or too large.
        """
        fitted = read_fitted(self.path, max_pixels=self.limits.max_image_pixels, max_set_mb=self.limits.max_set_mb)
        pairs = len(fitted.pairs)
        table = pair_attributes.attributes_file(self.path.removesuffix(".bin"))
        if not filesystem.exists(table):
            return SetContent(fitted, [{}] * pairs)
        columns = pair_attributes.read_pair_attributes(table, pairs)
        known = [_features({column: values[pair] for column, values in columns.items()}) for pair in range(pairs)]
        return SetContent(fitted, known)


def _features(values: dict[str, str]) -> dict[str, list[bytes]]:
    """The optional features of one pair, from its value in each column; what isn't known is left out."""
    identity, files = (values.pop(name, "") for name in (pair_attributes.IDENTITY_COLUMN, pair_attributes.FILE_COLUMN))
    lists = {
        features.ATTRIBUTES: [f"{column}={value}".encode() for column, value in sorted(values.items()) if value],
        features.IDENTITIES: [label.encode() for label in identity.split(pair_attributes.BETWEEN) if label],
        features.FILES: [files.encode()] if files else [],
    }
    return {name: entries for name, entries in lists.items() if entries}
