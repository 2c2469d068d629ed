"""What `convert` wrote, as values and as text."""

import dataclasses

from arcface_common.features import FEWEST_IDENTITIES
from components.datasets.face_files import JPEG_QUALITY, SIZE
from components.datasets.kept_faces import KeptSet


@dataclasses.dataclass(frozen=True)
class SetReport:
    """The verification set.

    Attributes:
      name: it is `<name>.bin`.
      pairs: how many.
      same: those of one identity.
      images: its different images.
      known: those of them that are in `train.rec`, too.
      lost: pairs of a list that were left out, since an image of theirs can't be used.
      remarks: what is odd about it, or was left out.
    """

    name: str
    pairs: int
    same: int
    images: int
    known: int = 0
    lost: int = 0
    remarks: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For a person."""
        different = self.pairs - self.same
        lines = [f"{self.name}.bin: {self.pairs:,} pairs: {self.same:,} same, {different:,} different"]
        if self.lost:
            lines.append(f"warning: {self.lost:,} more pairs left out, for images that can't be used")
        if self.known:
            lines.append(
                f"warning: {self.known:,} of the {self.images:,} images of {self.name}.bin are in train.rec, "
                "too: a model trained on it must not be judged by this set"
            )
        return [*lines, *self.remarks]


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """All of it.

    Attributes:
      identities: folders with images, each a label in `train.rec`.
      images: images in `train.rec`.
      resized: images, of `train.rec` and of the set, that had another size and were encoded anew.
      squeezed: how many of them weren't square.
      first_squeezed: path and size of the first of these.
      turned: such images that were turned as their EXIF orientation says; those of 112x112 are PNGs now.
      left_out: lines about files and folders that are no image of an identity, and about folders that look alike.
      skipped: lines about images that can't be used.
      set: the verification set, or None.
      kept_out: how it was drawn of identities that were kept out, or None.
    """

    identities: int
    images: int
    resized: int = 0
    squeezed: int = 0
    first_squeezed: str = ""
    turned: int = 0
    left_out: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    set: SetReport | None = None
    kept_out: KeptSet | None = None

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"train.rec: {self.images:,} images of {_identities(self.identities)}"] if self.images else []
        if self.images and self.identities < FEWEST_IDENTITIES:
            lines.append("warning: one identity alone can't be trained on: there is nobody to tell it from")
        if self.kept_out:
            lines.append(self.kept_out.line())
        if self.resized:
            lines.append(f"images resized to {SIZE}, JPEG quality {JPEG_QUALITY}: {self.resized:,}")
        if self.squeezed:
            lines.append(
                f"warning: {self.squeezed:,} of them were not square and are squeezed now, {self.first_squeezed} "
                "the first: `arcface-tfx align` crops faces"
            )
        if self.turned:
            lines.append(f"images turned as their EXIF orientation says: {self.turned:,}")
        lines += self.left_out
        if self.set:
            lines += self.set.lines()
        return [*lines, *self.skipped]


def _identities(count: int) -> str:
    return f"{count:,} {'identity' if count == 1 else 'identities'}"
