"""Images of a verification set that are not 112x112, resized as InsightFace's reader does.

That reader (`load_bin` of `recognition/arcface_mxnet/verification.py`, deepinsight/insightface) calls
`mx.image.resize_short(image, 112)`, which is OpenCV's bicubic resize without antialiasing. Published figures of such
sets rest on it.
"""

import functools
import io

import numpy as np
from PIL import Image

from components.image_header import image_size
from components.recordio.records import OpenFile, open_local
from components.verification_bin import VerificationSet, VerificationSetError, read
from trainer_module.console import say
from trainer_module.features import IMAGE_SIZE


def read_fitted(path: str, *, open_file: OpenFile = open_local) -> tuple[VerificationSet, int]:
    """`verification_bin.read`, then `fit_images`, with a line to the console if any image was resized."""
    pairs, resized = fit_images(read(path, open_file=open_file), path)
    if resized:
        images = len(set(pairs.images))
        say(f"{path}: {resized} of {images} images resized to {IMAGE_SIZE}x{IMAGE_SIZE} (bicubic, as InsightFace does)")
    return pairs, resized


def fit_images(pairs: VerificationSet, path: str) -> tuple[VerificationSet, int]:
    """The set with all images of 112x112 pixels; those that are stay as they are.

    Args:
      pairs: the set.
      path: where it was read, for error messages.

    Returns:
      The set, and how many different images were resized; they are PNGs now, which lose nothing more.

    Raises:
      VerificationSetError: an image that is not square, which InsightFace's reader takes no more than we do, or that
        doesn't decode.
    """
    fitted: dict[bytes, bytes] = {}
    for position, image in enumerate(pairs.images):
        size = image_size(image)
        if image in fitted or (size is not None and size.width == size.height == IMAGE_SIZE):
            continue
        where = f"{path}: pair {position // 2}, {'second' if position % 2 else 'first'} image"
        if size is None or size.width != size.height:
            received = "no size in its header" if size is None else f"{size.width}x{size.height}"
            raise VerificationSetError(f"{where}: expected a square image. Received: {received}")
        try:
            with Image.open(io.BytesIO(image), formats=("JPEG", "PNG")) as opened:
                pixels = np.asarray(opened.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise VerificationSetError(f"{where}: expected an image that decodes. Received: {error}") from error
        buffer = io.BytesIO()
        Image.fromarray(resize_cubic(pixels)).save(buffer, "PNG")
        fitted[image] = buffer.getvalue()
    if not fitted:
        return pairs, 0
    return VerificationSet([fitted.get(image, image) for image in pairs.images], pairs.is_same), len(fitted)


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
