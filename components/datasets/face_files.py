"""Single images as a data set stores them: upright, of 112x112 pixels, their own bytes wherever that is possible."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from arcface_common import features
from arcface_common.image_header import UPRIGHT, ImageError, check_header
from arcface_common.image_pixels import decode, read_file, to_png
from components.datasets.skipped import Skipped

JPEG_QUALITY = 95
SIZE = f"{features.IMAGE_SIZE}x{features.IMAGE_SIZE}"

_SIDES = (features.IMAGE_SIZE, features.IMAGE_SIZE)


class Face(NamedTuple):
    """An image.

    Attributes:
      encoded: the bytes that are stored.
      pixels: uint8 [112, 112, 3], RGB, 0..255; before they were encoded anew, if they were.
    """

    encoded: bytes
    pixels: np.ndarray


class FaceFiles:
    """Reads images.

    Args:
      resize: take images of other sizes, and resize them.
      bad: takes note of those that can't be used.

    Attributes:
      bad: the same.
      resized: paths of those that were encoded anew in another size.
      turned: paths of those that were turned as their EXIF orientation says.
      squeezed: paths of those that were resized and weren't square -> their size in words.
    """

    def __init__(self, resize: bool, bad: Skipped) -> None:
        self.bad = bad
        self._resize = resize
        self._known_bad: set[Path] = set()
        self.resized: set[Path] = set()
        self.turned: set[Path] = set()
        self.squeezed: dict[Path, str] = {}

    def read(self, path: Path) -> Face | None:
        """An image; None for what is no whole JPEG or PNG, can't be opened, or has a size that may not be changed.

        Raises:
          DataError: too many of them, see `Skipped`.
          OSError: the machine's fault, not the file's.
        """
        try:
            return self._face(path)
        except ImageError as error:
            reason = str(error)
        except (FileNotFoundError, PermissionError) as error:
            reason = f"expected a file that can be read. Received: {error.strerror}"
        self.refuse(path, str(path), reason)
        return None

    def refuse(self, path: Path, shown: str, reason: str) -> None:
        """Notes an image that can't be used, once: a pair's image may be one of training, too.

        Args:
          path: where it lies, or would.
          shown: its name for a person.
          reason: "expected ... Received: ...".

        Raises:
          DataError: too many of them, see `Skipped`.
        """
        if path not in self._known_bad:
            self._known_bad.add(path)
            self.bad.note(shown, reason)

    def changes(self) -> dict[str, Any]:
        """What was done to images, by the names of `ConversionReport`'s fields."""
        return {
            "resized": len(self.resized),
            "squeezed": len(self.squeezed),
            "first_squeezed": next((f"{path} ({size})" for path, size in self.squeezed.items()), ""),
            "turned": len(self.turned),
        }

    def _face(self, path: Path) -> Face:
        data = read_file(path)
        header = check_header(data)
        fits = (header.width, header.height) == _SIDES
        if not fits and not self._resize:
            received = f"{header.width}x{header.height}"
            raise ImageError(
                f"expected {SIZE} pixels (--align takes photos, --resize aligned faces of another size). "
                f"Received: {received}"
            )
        pixels = decode(data)
        if header.orientation != UPRIGHT:
            self.turned.add(path)
            if fits:
                return Face(to_png(pixels), pixels)  # which loses nothing
        if fits:
            return Face(data, pixels)
        self.resized.add(path)
        height, width, _ = pixels.shape
        if width != height:
            self.squeezed[path] = f"{width}x{height}"
        buffer = io.BytesIO()
        resized = Image.fromarray(pixels).resize(_SIDES, Image.Resampling.BILINEAR)
        resized.save(buffer, "JPEG", quality=JPEG_QUALITY)
        return Face(buffer.getvalue(), np.asarray(resized))
