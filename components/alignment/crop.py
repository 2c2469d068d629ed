"""A face cut out of a photo at InsightFace's template, and what can be measured on the crop."""

import dataclasses

import numpy as np
from PIL import Image

from arcface_common.features import IMAGE_SIZE
from components.alignment.resampling import sample
from components.alignment.template import magnification, similarity

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, ITU-R BT.601


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a crop lies in its photo.

    Attributes:
      matrix: float64 [2, 3], from places in the photo to places in the crop.
      upscale: pixels of the crop for each pixel of the photo along a line; above 1 the face is enlarged.
      padding: share of the crop that lies outside of the photo, 0..1; it becomes black.
    """

    matrix: np.ndarray
    upscale: float
    padding: float


def place(points: np.ndarray, width: int, height: int) -> Placement:
    """Where the crop of a face lies.

    Args:
      points: float [5, 2], x and y of eyes, nose and corners of the mouth, as `template.TEMPLATE` orders them.
      width: of the photo, pixels.
      height: of the photo, pixels.

    Raises:
      DataError: the points are one point, or not finite.
    """
    matrix = similarity(points)
    x, y = _places(matrix)
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    return Placement(matrix, magnification(matrix), float(outside.mean()))


def crop(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The crop as InsightFace's `norm_crop` makes it, by OpenCV's bilinear `warpAffine` with a black border.

    Bilinear interpolation looks at four pixels. Where a pixel of the crop covers more than 2x2 of the photo, these are
    replaced by the means of whole blocks first: else fine patterns and noise would alias.

    Args:
      pixels: uint8 [H, W, 3], RGB.
      matrix: float64 [2, 3], from the photo to the crop.

    Returns:
      uint8 [112, 112, 3], RGB.
    """
    x, y = _places(matrix)
    block = int(1 / max(magnification(matrix), 1e-6))
    if block > 1:
        height, width = pixels.shape[:2]
        left, top = (max(0, int(np.floor(v.min())) // block * block - block) for v in (x, y))
        right, bottom = (min(s, int(v.max()) + 2 * block) for v, s in ((x, width), (y, height)))
        if left >= right or top >= bottom:  # all of it lies outside of the photo
            return np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        pixels = np.asarray(Image.fromarray(pixels[top:bottom, left:right]).reduce(block))
        x, y = ((v - begin + 0.5) / block - 0.5 for v, begin in ((x, left), (y, top)))
    return np.rint(sample(pixels, x, y)).astype(np.uint8)


def sharpness(pixels: np.ndarray) -> float:
    """Variance of the Laplacian of a crop's brightness: below about 50 a face looks blurred, a flat field has 0.

    Args:
      pixels: uint8 [112, 112, 3], RGB.
    """
    grey = pixels @ _LUMA
    edges = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    return float(edges.var())


def _places(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row in the photo of each pixel of the crop: float64 [112, 112] each."""
    inverse = np.linalg.inv(matrix[:, :2])
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE]
    x, y = np.tensordot(inverse, np.stack([columns, rows]) - matrix[:, 2, None, None], axes=1)
    return x, y
