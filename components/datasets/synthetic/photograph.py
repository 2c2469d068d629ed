"""Light on the painting, and the camera that takes the picture."""

import io

import numpy as np
from PIL import Image, ImageFilter

from components.datasets.synthetic.canvas import SCALE, Canvas
from components.datasets.synthetic.condition import Condition
from components.datasets.synthetic.geometry import SIZE, Pose

_Y, _X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
_HEADROOM = 0.5  # pixels are halved before they are clipped, so that light of up to 2 reaches the tone curve
_LUMA = np.array([0.299, 0.587, 0.114])


def backdrop(condition: Condition) -> Image.Image:
    """The blurred background: RGB, 4 x 4, to be stretched."""
    grid = np.array(condition.background, np.uint8).reshape(4, 4, 3)
    return Image.fromarray(grid)


def develop(canvas: Canvas, condition: Condition) -> Image.Image:
    """From the painting to the picture.

    Args:
      canvas: the finished painting.
      condition: light and camera.

    Returns:
      RGB, 112 x 112, before JPEG.
    """
    painting = canvas.image.reduce(SCALE)
    soft = np.asarray(canvas.soft.filter(ImageFilter.GaussianBlur(1.5)), np.float32) * np.float32(1 / 128)
    person = np.asarray(canvas.subject.reduce(SCALE), np.float32) * np.float32(1 / 255)
    light = ((_light(canvas.pose, condition) - 0.9) * person + 0.9)[:, :, None] * soft[:, :, None]
    exposure = np.array(condition.tint, np.float32) * np.array(condition.gain, np.float32) * np.float32(_HEADROOM)
    pixels = np.asarray(painting, np.float32) * (light * exposure)
    image = Image.fromarray(np.minimum(pixels, 255).astype(np.uint8))
    image = image.point(_tone_curve(condition)).convert("RGB", _colour_matrix(condition))
    if condition.blur > 0.15:
        image = image.filter(ImageFilter.GaussianBlur(condition.blur))
    if condition.noise > 0.5:
        noise = np.random.default_rng(condition.noise_seed).standard_normal((SIZE, SIZE, 1), np.float32)
        pixels = np.asarray(image, np.float32) + noise * np.float32(condition.noise)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image


def to_jpeg(image: Image.Image, quality: int) -> bytes:
    """Encodes a picture; quality as in libjpeg, 4:2:0 as cameras do."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _light(pose: Pose, condition: Condition) -> np.ndarray:
    """Brightness of a head-shaped solid under one lamp and the sky, float32 [112, 112], about 0.4 .. 1.25."""
    centre, bottom = pose.project(np.array([[0.0, -4, 20], [0, 66, 10]]))
    wide, tall = 46 * abs(pose.scale), max(48.0, float(np.hypot(*(bottom - centre))))
    x, y = (_X - centre[0]) / wide, (_Y - centre[1]) / tall
    radius = x * x + y * y
    z = np.sqrt(np.maximum(1 - radius, 0))
    along = x * condition.light[0] + y * condition.light[1] + z * condition.light[2]
    facing = np.maximum(along / np.sqrt(np.maximum(radius, 1)), 0)
    lit = condition.ambient + (1 - condition.ambient) * (0.22 + 1.12 * facing)
    return lit.astype(np.float32)


def _colour_matrix(condition: Condition) -> tuple[float, ...]:
    """Saturation as the 3 x 4 matrix of `Image.convert`."""
    keep = condition.saturation
    matrix = np.eye(3) * keep + (1 - keep) * _LUMA
    return tuple(np.concatenate([matrix, np.zeros((3, 1))], 1).ravel().tolist())


def _tone_curve(condition: Condition) -> list[int]:
    """Film's shoulder instead of a hard clip at white, then the camera's gamma; 256 entries for each channel."""
    light = np.arange(256) / (255 * _HEADROOM)
    shoulder = (1 - np.exp(-1.5 * light)) / (1 - np.exp(-1.5 * 1.2))
    return np.clip(255 * shoulder ** (1.3 * condition.gamma), 0, 255).astype(int).tolist() * 3
