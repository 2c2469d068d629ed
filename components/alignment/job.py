"""One batch of photos at a time: its crops are written, then its part of the list, which says that it is finished.

The same in a process of this machine and in a Beam worker; what a worker needs is small and travels by pickle.
"""

import contextlib
import dataclasses
import functools
import io
import os
from collections.abc import Iterator

from PIL import Image

from arcface_common import filesystem
from arcface_common.errors import DataError
from arcface_common.image_pixels import to_png
from components.alignment.aligner import AlignedPhoto, Aligner, read_photo
from components.alignment.faces_csv import FaceRow
from components.alignment.settings import AlignSettings

_JPEG_QUALITY = 95


@dataclasses.dataclass(frozen=True)
class Batch:
    """Photos that are done together.

    Attributes:
      number: from 0.
      names: their paths below the folder of photos, with "/".
    """

    number: int
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class AlignJob:
    """What it takes to do any batch.

    Attributes:
      photos: folder of the photos.
      work: folder that gets the crops.
      settings: which face counts, and the limits.
    """

    photos: str
    work: str
    settings: AlignSettings

    @property
    def state(self) -> str:
        """Folder of what only an unfinished job needs."""
        return os.path.join(self.work, ".align")

    @property
    def aside(self) -> str:
        """Folder of files that are being written."""
        return os.path.join(self.state, "unfinished")

    @property
    def parts(self) -> str:
        """Folder of what finished batches leave."""
        return os.path.join(self.state, "parts")

    @property
    def failed(self) -> str:
        """File that says why the job has failed, for bad input raised where an exception would lose its type."""
        return os.path.join(self.state, "failed")

    def part(self, batch: Batch) -> str:
        """The file that holds a finished batch's rows."""
        return os.path.join(self.parts, f"{batch.number:07d}.jsonl")

    def rows(self, batch: Batch) -> list[FaceRow]:
        """A finished batch's rows, in the order of its photos."""
        return list(map(FaceRow.from_json, filesystem.read_file(self.part(batch)).decode().splitlines()))

    @contextlib.contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Writes bad input down in place of raising it: Beam would wrap it in an exception of its own."""
        try:
            yield
        except DataError as error:
            filesystem.write_file(self.failed, str(error).encode(), self.aside)

    def write(self, batch: Batch, aligner: Aligner) -> int:
        """Does a batch.

        Returns:
          How many photos it holds.

        Raises:
          DataError: a user's detector gave what is no face.
          OSError: a crop can't be written.
        """
        photos = (
            (name, functools.partial(read_photo, os.path.join(self.photos, name), self.settings.max_pixels))
            for name in batch.names
        )
        rows = []
        for photo in aligner.align(photos):
            if photo.pixels is not None:
                filesystem.write_file(os.path.join(self.work, photo.row.file), _encoded(photo), self.aside)
            rows.append(photo.row)
        part = "".join(f"{row.to_json()}\n" for row in rows)
        filesystem.write_file(self.part(batch), part.encode(), self.aside)
        return len(rows)


def _encoded(photo: AlignedPhoto) -> bytes:
    """The crop in its photo's format."""
    assert photo.pixels is not None
    if photo.is_png:
        return to_png(photo.pixels)
    buffer = io.BytesIO()
    Image.fromarray(photo.pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
