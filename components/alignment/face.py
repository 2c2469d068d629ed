"""A face in a picture, and what finds some."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Face(NamedTuple):
    """A face in a picture. Places are in pixels from the middle of the first pixel; x grows to the right, y downwards.

    Attributes:
      box: float [4], left, top, right and bottom.
      score: how sure the detector is, 0..1.
      points: float [5, 2], x and y of left eye, right eye, nose, left and right corner of the mouth, left and right as
        one sees the picture.
    """

    box: np.ndarray
    score: float
    points: np.ndarray


# From uint8 [H, W, 3], RGB, each of its own size, to the faces in each. Shorter lists than that are an error.
Detector = Callable[[Sequence[np.ndarray]], Sequence[Sequence[Face]]]
