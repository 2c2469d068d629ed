"""Pixels at places between pixels: means over areas, and bilinear interpolation, for whole pictures and for patches."""

import functools

import numpy as np
import scipy.sparse

_PATCHES_AT_ONCE = 256  # 256 patches of 48x48 with their four neighbours: 28 MB


def resize_area(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """A smaller picture, each pixel of which is the mean of the area that it covers.

    Args:
      pixels: float32 [H, W, C].
      height: of the result, up to H.
      width: of the result, up to W.

    Returns:
      float32 [height, width, C].
    """
    _, old_width, channels = pixels.shape
    rows = _means(len(pixels), height) @ pixels.reshape(len(pixels), -1)
    columns = rows.reshape(height, old_width, channels).transpose(1, 0, 2).reshape(old_width, -1)
    means = _means(old_width, width) @ columns
    return means.reshape(width, height, channels).transpose(1, 0, 2)


@functools.lru_cache(maxsize=64)
def _means(size: int, count: int) -> scipy.sparse.csr_matrix:
    """float32 [count, size]: what each pixel of a line of `size` gives to each of `count` equal stretches of it."""
    edges = np.arange(count + 1) * (size / count)
    place = np.arange(size)
    share = np.minimum(edges[1:, None], place + 1) - np.maximum(edges[:-1, None], place)
    return scipy.sparse.csr_matrix(np.maximum(share, 0).astype(np.float32) * (count / size), dtype=np.float32)


def sample(pixels: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear interpolation as OpenCV's `remap` has it with a black border: what lies outside counts as 0.

    Args:
      pixels: uint8 [H, W, C].
      x: float [...], places in columns; 0 is the middle of the first one.
      y: float [...], places in rows.

    Returns:
      float32 [..., C].
    """
    height, width, channels = pixels.shape
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    total = np.zeros((*x.shape, channels), np.float32)
    for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, column_weight in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            weight = np.where(inside, row_weight * column_weight, 0).astype(np.float32)
            total += weight[..., None] * pixels[row.clip(0, height - 1), column.clip(0, width - 1)]
    return total


def patches(pixels: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    """Square patches as TensorFlow's `crop_and_resize` cuts them (bilinear, no antialiasing); 0 outside of the picture.

    The package mtcnn divides boxes by the picture's size, and the op multiplies them by that size less one: a place is
    (S - 1) / S of what the box says. The networks are used to it.

    Args:
      pixels: float32 [H, W, C].
      boxes: float [N, 4]: left, top, right, bottom in pixels.
      side: S of each patch.

    Returns:
      float32 [N, side, side, C].
    """
    height, width, channels = pixels.shape
    found = np.empty((len(boxes), side, side, channels), np.float32)
    steps = np.linspace(0, 1, side)
    for begin in range(0, len(boxes), _PATCHES_AT_ONCE):
        some = slice(begin, begin + _PATCHES_AT_ONCE)
        x0, y0, x1, y1 = (boxes[some, i, None] for i in range(4))
        x = (x0 + (x1 - x0) * steps) * ((width - 1) / width)
        y = (y0 + (y1 - y0) * steps) * ((height - 1) / height)
        left, top = (np.floor(place).clip(0, size - 1).astype(np.int64) for place, size in ((x, width), (y, height)))
        right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
        across = (x - left).astype(np.float32)[:, None, :, None]
        down = (y - top).astype(np.float32)[:, :, None, None]
        rows = []
        for row in (top[:, :, None], bottom[:, :, None]):
            one, other = pixels[row, left[:, None]], pixels[row, right[:, None]]
            rows.append(one + (other - one) * across)
        inside = ((y >= 0) & (y <= height - 1))[:, :, None] & ((x >= 0) & (x <= width - 1))[:, None]
        found[some] = np.where(inside[..., None], rows[0] + (rows[1] - rows[0]) * down, 0)
    return found
