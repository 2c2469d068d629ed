"""Where InsightFace puts a face in a crop of 112x112 pixels, and the transform that brings one there. Numpy only."""

import numpy as np

from arcface_common.errors import DataError

# x and y of left eye, right eye, nose, left and right corner of the mouth, left and right as one sees the picture: the
# template of `face_align.norm_crop` (deepinsight/insightface), by which the published training sets were cut.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float64
)


def similarity(points: np.ndarray, target: np.ndarray = TEMPLATE) -> np.ndarray:
    """The turn, scale and shift that bring points nearest to a target by least squares, never a mirroring.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991, with
    equations 39 to 42.

    Args:
      points: float [N, 2], x and y in pixels.
      target: float [N, 2].

    Returns:
      float64 [2, 3]: a point (x, y) goes to the matrix times (x, y, 1).

    Raises:
      DataError: the points are one point, or not finite.
    """
    points = np.asarray(points, np.float64)
    centre, target_centre = points.mean(axis=0), target.mean(axis=0)
    around, target_around = points - centre, target - target_centre
    variance = np.square(around).sum()
    if not 0 < variance < np.inf:
        raise DataError(f"expected points of a face at different places. Received: {points.tolist()}")
    left, stretch, right = np.linalg.svd(target_around.T @ around)
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    turn = left @ np.diag(signs) @ right
    linear = turn * (stretch * signs).sum() / variance
    return np.column_stack([linear, target_centre - linear @ centre])


def magnification(matrix: np.ndarray) -> float:
    """Pixels of the crop for each pixel of the photo along a line; above 1 the face is enlarged."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
