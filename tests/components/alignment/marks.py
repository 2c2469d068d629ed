"""A detector for tests of what is around detectors: photos say themselves how many faces they have.

A photo's corner of 8x8 pixels holds 50 levels of red for each face. The first face fills the middle
half; each other one is smaller and lies to its left.
"""

import io
import os
import signal
from collections.abc import Sequence

import numpy as np
from PIL import Image

from components.alignment.face import Face
from components.alignment.settings import AlignSettings
from components.alignment.template import TEMPLATE

MARKS = AlignSettings(detector="tests.components.alignment.marks:load")


def load():
    """What `--detector tests.components.alignment.marks:load` calls."""
    return detect


def load_nothing():
    """Not a detector."""
    return 3


def load_liar():
    """A detector whose boxes have no points."""
    return lambda images: [[((0, 0, 10, 10), 0.99, [[1, 2]])] for _ in images]


def load_killer():
    """A detector that the kernel ends, as it does for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def detect(images: Sequence[np.ndarray]) -> list[list[Face]]:
    """The faces that each photo says it has."""
    return [[face(image.shape, number) for number in range(marked(image))] for image in images]


def marked(image: np.ndarray) -> int:
    return round(float(image[:8, :8, 0].mean()) / 50)


def face(shape: tuple[int, ...], number: int) -> Face:
    height, width = shape[:2]
    side = min(height, width) / 2 / (number + 1)
    left, top = (width - side) / 2 / (number + 1), (height - side) / 2
    points = TEMPLATE / 112 * side + [left, top]
    return Face(np.array([left, top, left + side, top + side]), 0.99 - 0.01 * number, points)


def photo(faces: int, width: int = 240, height: int = 200, seed: int = 0, kind: str = "JPEG") -> bytes:
    """A smooth picture with a mark."""
    field = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = np.array(Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC))
    pixels[:16, :16] = [50 * faces, 0, 0]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return buffer.getvalue()
