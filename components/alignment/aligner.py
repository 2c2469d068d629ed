"""The one way from a photo to its crop: decoded upright, its faces found, one of them chosen and cut out."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from arcface_common.bounded_file import read_bounded
from arcface_common.errors import DataError
from arcface_common.features import PNG_MAGIC, largest_image_file
from arcface_common.image_pixels import decode
from components.alignment.choose import Choice, choose, shorter_side
from components.alignment.crop import crop, sharpness
from components.alignment.detectors import load_detector
from components.alignment.face import Detector, Face
from components.alignment.faces_csv import UNREADABLE, FaceRow
from components.alignment.settings import DEFAULT_SETTINGS, AlignSettings

_PHOTOS_AT_ONCE = 16
_PIXELS_AT_ONCE = 1 << 24  # beside the last photo of a batch, 48 MB


@dataclasses.dataclass(frozen=True)
class AlignedPhoto:
    """What became of a photo.

    Attributes:
      row: the facts, as faces.csv holds them.
      pixels: the crop, uint8 [112, 112, 3], RGB; None where `row.rejected` says why.
      is_png: whether the photo was a PNG, as its crop then is.
    """

    row: FaceRow
    pixels: np.ndarray | None = None
    is_png: bool = False


class _Photo(NamedTuple):
    """A photo in memory: its name, uint8 [H, W, 3] upright, and whether it was a PNG."""

    name: str
    pixels: np.ndarray
    is_png: bool


class Aligner:
    """Aligns photos, one after the other. Memory: `max_pixels` and 2**24 pixels of 3 bytes, and the detector's."""

    def __init__(self, settings: AlignSettings, detector: Detector) -> None:
        """Takes what a process loads once.

        Args:
          settings: which face counts, and the limits.
          detector: what finds faces.
        """
        self._settings = settings
        self._detector = detector

    def align(self, photos: Iterable[tuple[str, Callable[[], bytes]]]) -> Iterator[AlignedPhoto]:
        """Aligns photos in their order; one that can't be read is a row that says so.

        Args:
          photos: the name of each, and what gives its JPEG or PNG bytes, or raises DataError or OSError.
        """
        batch: list[_Photo | AlignedPhoto] = []
        waiting = 0
        for name, read in photos:
            batch.append(self._opened(name, read))
            waiting += batch[-1].pixels.size // 3 if isinstance(batch[-1], _Photo) else 0
            if len(batch) == _PHOTOS_AT_ONCE or waiting >= _PIXELS_AT_ONCE:
                yield from self._batch(batch)
                batch, waiting = [], 0
        yield from self._batch(batch)

    def _opened(self, name: str, read: Callable[[], bytes]) -> _Photo | AlignedPhoto:
        try:
            content = read()
            pixels = decode(content, self._settings.max_pixels, "max-pixels")
        except (DataError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            return AlignedPhoto(FaceRow(name, rejected=f"{UNREADABLE}: {reason}"))
        return _Photo(name, pixels, content.startswith(PNG_MAGIC))

    def _batch(self, batch: Sequence[_Photo | AlignedPhoto]) -> Iterator[AlignedPhoto]:
        reduced = [_reduced(entry.pixels, self._settings.max_side) for entry in batch if isinstance(entry, _Photo)]
        found = iter(self._detector(reduced) if reduced else ())
        small = iter(reduced)
        for entry in batch:
            if isinstance(entry, AlignedPhoto):
                yield entry
                continue
            faces = _enlarged(next(found), next(small), entry.pixels)
            height, width, _ = entry.pixels.shape
            choice = choose(faces, width, height, self._settings)
            pixels = None
            if choice.placement is not None and not choice.rejected:
                pixels = crop(entry.pixels, choice.placement.matrix)
            yield AlignedPhoto(_row(entry.name, len(faces), choice, pixels), pixels, entry.is_png)


@functools.cache
def process_aligner(settings: AlignSettings) -> Aligner:
    """This process's aligner, loaded once.

    Raises:
      DataError: the settings name no detector.
    """
    return Aligner(settings, load_detector(settings.detector))


def aligned(
    photos: Iterable[str | os.PathLike[str] | bytes], settings: AlignSettings = DEFAULT_SETTINGS
) -> Iterator[AlignedPhoto]:
    """Aligns photos in this process, in their order: what `--align` does.

    Args:
      photos: paths, or JPEG or PNG bytes, which are called "photo 1" and so on.
      settings: which face counts, and the limits.

    Yields:
      The crop of each, or why there is none.

    Raises:
      DataError: the settings name no detector.
    """

    def entry(number: int, photo: str | os.PathLike[str] | bytes) -> tuple[str, Callable[[], bytes]]:
        if isinstance(photo, bytes):
            return f"photo {number}", lambda: photo
        return os.fspath(photo), functools.partial(read_photo, os.fspath(photo), settings.max_pixels)

    return process_aligner(settings).align(entry(number, photo) for number, photo in enumerate(photos, start=1))


def read_photo(path: str, max_pixels: int) -> bytes:
    """The bytes of a photo, on whatever file system.

    Raises:
      DataError: more bytes than so many pixels could take.
      OSError: the file can't be read.
    """
    try:
        return read_bounded(path, largest_image_file(max_pixels), "max-pixels")
    except DataError as error:
        raise DataError(str(error).removeprefix(f"{path}: ")) from error


def complaint(row: FaceRow) -> str:
    """Why a photo gave no crop, as an error: its path, what was expected, and what was received."""
    if row.kind == UNREADABLE:
        reason = row.rejected.removeprefix(f"{UNREADABLE}: ")
        expected = "" if "Received: " in reason else "expected a photo that can be read. Received: "
        return f"{row.file}: {expected}{reason}"
    return f"{row.file}: expected a photo with a face that counts. Received: {row.rejected}"


def _reduced(pixels: np.ndarray, side: int) -> np.ndarray:
    """The photo as the detector sees it: its longer side at most so long."""
    height, width, _ = pixels.shape
    ratio = side / max(height, width)
    if ratio >= 1:
        return pixels
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def _enlarged(faces: Sequence[Face], small: np.ndarray, photo: np.ndarray) -> list[Face]:
    """Faces found in a reduced photo, in the pixels of the photo itself."""
    factors = np.array(photo.shape[1::-1]) / small.shape[1::-1]
    return [
        Face(
            (np.asarray(face.box) + 0.5) * np.tile(factors, 2) - 0.5,
            face.score,
            (np.asarray(face.points) + 0.5) * factors - 0.5,
        )
        for face in faces
    ]


def _row(name: str, faces: int, choice: Choice, pixels: np.ndarray | None) -> FaceRow:
    if choice.face is None:
        return FaceRow(name, faces, choice.rejected)
    placement = choice.placement
    return FaceRow(
        name,
        faces,
        choice.rejected,
        tuple(map(float, choice.face.box)),
        float(choice.face.score),
        tuple(map(float, np.ravel(choice.face.points))),
        shorter_side(choice.face),
        None if placement is None else placement.upscale,
        None if placement is None else placement.padding,
        None if pixels is None else sharpness(pixels),
    )
