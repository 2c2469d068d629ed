"""Pixels of encoded images outside TensorFlow: what OpenCV's `imdecode(..., IMREAD_COLOR)` gives, as RGB.

That is what the published data sets were made with and what the networks were trained on. Pillow decodes, and takes no
memory for pixels before the header's size is known to be within the limit.
"""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from arcface_common import filesystem
from arcface_common.features import MAX_IMAGE_PIXELS, largest_image_file
from arcface_common.image_header import UPRIGHT, ImageError, check_header


def read_file(path: Path) -> bytes:
    """The bytes of an image's file, if they are not more than its pixels could take.

    Raises:
      ImageError: the file is larger than an image of `MAX_IMAGE_PIXELS` without any compression.
      OSError: the file cannot be read.
    """
    size, largest = path.stat().st_size, largest_image_file()
    if size > largest:
        raise ImageError(f"expected a file of at most {largest:,} bytes. Received: {size:,} bytes")
    return filesystem.read_file(str(path))


def decode(encoded: bytes, max_pixels: int = MAX_IMAGE_PIXELS, setting: str = "") -> np.ndarray:
    """Decodes a JPEG or PNG: turned as its EXIF orientation says, 16 bits by the high byte, alpha dropped.

    Args:
      encoded: the image.
      max_pixels: width times height at most.
      setting: what a user can set that limit by, for the message; "" where nothing can.

    Returns:
      uint8 [H, W, 3], RGB, 0..255.

    Raises:
      ImageError: no whole JPEG or PNG, or too many pixels.
    """
    header = check_header(encoded, max_pixels, setting)
    try:
        with warnings.catch_warnings(action="ignore"), _opened(encoded) as image:  # of EXIF that Pillow can't read
            if image.size != (header.width, header.height):
                raise ValueError(f"two sizes, {header.width}x{header.height} and {image.width}x{image.height}")
            pixels = _rgb(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"expected a whole JPEG or PNG. Received: {error}") from error
    return _turned(pixels, header.orientation)


def upright(encoded: bytes, max_pixels: int = MAX_IMAGE_PIXELS, setting: str = "") -> bytes:
    """The image as it is to be seen: its own bytes if it lies so, else a PNG, which loses nothing more.

    Raises:
      ImageError: no JPEG or PNG with a usable header, or one that is to be turned and does not decode.
    """
    if check_header(encoded, max_pixels, setting).orientation == UPRIGHT:
        return encoded
    return to_png(decode(encoded, max_pixels, setting))


def to_png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 3], RGB, as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG"))


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255, and the picture turn white
        high = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=2)
    if image.mode == "CMYK":  # OpenCV's arithmetic, which rounds otherwise than Pillow's
        inverted = 255 - np.asarray(image, np.int32)
        black = inverted[..., 3:]
        return np.clip(black - ((255 - inverted[..., :3]) * black >> 8), 0, 255).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """[H, W, 3] as it is to be seen, by EXIF's eight cases: rows and columns exchanged from 5 on, then mirrored."""
    if orientation == UPRIGHT:
        return pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])
