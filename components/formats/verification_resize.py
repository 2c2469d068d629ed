"""Images of a verification set as they are evaluated: upright, and of 112x112 pixels, resized as InsightFace does.

InsightFace's reader (`load_bin` of `recognition/arcface_mxnet/verification.py`, deepinsight/insightface) decodes by
OpenCV, which turns an image as its EXIF orientation says, and calls `mx.image.resize_short(image, 112)`, which is
OpenCV's bicubic resize without antialiasing. Published figures of such sets rest on it.
"""

import functools
from typing import NamedTuple

import numpy as np

from arcface_common.console import say
from arcface_common.features import IMAGE_SIZE, MAX_IMAGE_PIXELS, MAX_PIXELS_SETTING, MAX_SET_MB
from arcface_common.image_header import UPRIGHT, ImageError, ImageHeader, check_end, check_header
from arcface_common.image_pixels import decode, to_png
from components.formats.verification_bin import VerificationSet, VerificationSetError, read


class FittedSet(NamedTuple):
    """A set whose images are all upright and of 112x112 pixels.

    Attributes:
      pairs: the set; what was changed is a PNG now, which loses nothing more.
      resized: how many different images had another size.
      turned: how many different images were turned as their EXIF orientation says.
    """

    pairs: VerificationSet
    resized: int
    turned: int


def read_fitted(
    path: str,
    *,
    max_pixels: int = MAX_IMAGE_PIXELS,
    max_set_mb: int = MAX_SET_MB,
) -> FittedSet:
    """`verification_bin.read`, then `fit_images`, with a line to the console for what was changed."""
    fitted = fit_images(read(path, max_set_mb=max_set_mb), path, max_pixels)
    images = len(set(fitted.pairs.images))
    if fitted.resized:
        size = f"{IMAGE_SIZE}x{IMAGE_SIZE}"
        say(f"{path}: {fitted.resized} of {images} images resized to {size} (bicubic, as InsightFace does)")
    if fitted.turned:
        say(f"{path}: {fitted.turned} of {images} images turned as their EXIF orientation says")
    return fitted


def fit_images(pairs: VerificationSet, path: str, max_pixels: int = MAX_IMAGE_PIXELS) -> FittedSet:
    """The set with all images upright and of 112x112 pixels; those that are stay as they are.

    Args:
      pairs: the set.
      path: where it was read, for error messages.
      max_pixels: width times height of an image at most.

    Raises:
      VerificationSetError: an image that is cut short, has too many pixels, is not square, which InsightFace's reader
        takes no more than we do, or is to be changed and doesn't decode.
    """
    seen: dict[bytes, bytes] = {}
    resized = turned = 0
    for position, image in enumerate(pairs.images):
        if image in seen:
            continue
        try:
            header = _checked(image, max_pixels)
            other_size = header.width != IMAGE_SIZE
            upright = header.orientation == UPRIGHT
            seen[image] = image if upright and not other_size else _changed(image, other_size, max_pixels)
        except ImageError as error:
            where = f"{path}: pair {position // 2}, {'second' if position % 2 else 'first'} image"
            raise VerificationSetError(f"{where}: {error}") from error
        resized += other_size
        turned += not upright
    if not resized and not turned:
        return FittedSet(pairs, 0, 0)
    return FittedSet(VerificationSet([seen[image] for image in pairs.images], pairs.is_same), resized, turned)


def check_pair_bytes(pairs: VerificationSet, path: str, max_set_mb: int = MAX_SET_MB) -> int:
    """How many bytes of images the set becomes when each pair is written with its own.

    Raises:
      VerificationSetError: more than `max_set_mb` MiB.
    """
    image_bytes = sum(map(len, pairs.images))
    if image_bytes > max_set_mb << 20:
        raise VerificationSetError(
            f"{path}: expected images that take up to {max_set_mb:,} MiB when each pair is written with its own "
            f"(evaluation.max_set_mb). Received: {image_bytes / 2**20:,.0f} MiB of {len(pairs):,} pairs"
        )
    return image_bytes


def _checked(image: bytes, max_pixels: int) -> ImageHeader:
    header = check_header(image, max_pixels, MAX_PIXELS_SETTING)
    if header.width != header.height:
        raise ImageError(f"expected a square image. Received: {header.width}x{header.height}")
    check_end(image)
    return header


def _changed(image: bytes, other_size: bool, max_pixels: int) -> bytes:
    pixels = decode(image, max_pixels, MAX_PIXELS_SETTING)
    return to_png(resize_cubic(pixels) if other_size else pixels)


def resize_cubic(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's bicubic resize (INTER_CUBIC) of a square image to 112x112, to within one level.

    Args:
      pixels: uint8 [S, S, 3].

    Returns:
      uint8 [112, 112, 3].
    """
    weights = _cubic_weights(len(pixels))
    resized = np.einsum("yi,xj,ijc->yxc", weights, weights, pixels.astype(np.float32), optimize=True)
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=16)
def _cubic_weights(size: int) -> np.ndarray:
    """float32 [112, size]: weights of Keys' kernel with a = -0.75, half-pixel centres, the border repeated."""
    place = (np.arange(IMAGE_SIZE) + 0.5) * size / IMAGE_SIZE - 0.5
    first = np.floor(place).astype(np.int64)
    weights = np.zeros((IMAGE_SIZE, size), np.float32)
    for tap in range(-1, 3):
        x = np.abs(place - first - tap)
        a = -0.75
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        np.add.at(weights, (np.arange(IMAGE_SIZE), np.clip(first + tap, 0, size - 1)), np.where(x <= 1, near, far))
    return weights
