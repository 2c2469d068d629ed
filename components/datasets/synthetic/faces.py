"""Draws somebody (an `Identity`) in some circumstances (a `Condition`) as an illustrated, aligned face crop."""

import numpy as np
from PIL import Image

from components.datasets.synthetic.accessories import paint_cap, paint_cover, paint_glasses
from components.datasets.synthetic.canvas import Canvas
from components.datasets.synthetic.condition import Condition, Variation
from components.datasets.synthetic.features import paint_brow, paint_eye, paint_mouth, paint_nose
from components.datasets.synthetic.geometry import Pose
from components.datasets.synthetic.hair import paint_back_hair, paint_ear, paint_hair
from components.datasets.synthetic.identity import Identity
from components.datasets.synthetic.marks import paint_age, paint_beard, paint_marks
from components.datasets.synthetic.photograph import backdrop, develop, to_jpeg
from components.datasets.synthetic.shape import Face, landmarks, shape

__all__ = ["Condition", "Identity", "Variation", "draw", "encode"]


def draw(identity: Identity, condition: Condition) -> Image.Image:
    """Paints one picture (about 5 ms on one core).

    Args:
      identity: who.
      condition: how: pose, expression, light, what covers the face, camera.

    Returns:
      RGB, 112 x 112, five landmarks near InsightFace's template.
    """
    face = shape(identity, condition)
    angles = tuple(np.radians([condition.yaw, condition.pitch, condition.roll]).tolist())
    canvas = Canvas(Pose.aligned(angles, landmarks(face), np.array(condition.jitter)), backdrop(condition))
    near = 1 if condition.yaw < 0 else -1  # the side that turns towards the viewer
    paint_back_hair(canvas, face)
    _paint_bust(canvas, face)
    paint_ear(canvas, face, -near)
    canvas.body(canvas.pose.silhouette(face.head.rings(face.head.levels, face.head.widths, np.zeros(33))), face.skin)
    paint_marks(canvas, face)
    paint_age(canvas, face)
    paint_beard(canvas, face)
    for side in (-near, near):
        paint_eye(canvas, face, side)
        paint_brow(canvas, face, side)
    paint_nose(canvas, face)
    paint_mouth(canvas, face)
    paint_ear(canvas, face, near)
    paint_hair(canvas, face)
    paint_glasses(canvas, face)
    paint_cap(canvas, face)
    paint_cover(canvas, face)
    return develop(canvas, condition)


def encode(identity: Identity, condition: Condition) -> bytes:
    """`draw`, as JPEG bytes of the condition's quality."""
    return to_jpeg(draw(identity, condition), condition.quality)


def _paint_bust(canvas: Canvas, face: Face) -> None:
    """Neck and shoulders, and the head's shadow on them."""
    chin = float(face.head.levels[-1])
    wide = face.who.face_width
    neck = np.array([[-0.62, chin - 26, -14], [0.62, chin - 26, -14], [0.68, chin + 40, -14], [-0.68, chin + 40, -14]])
    canvas.body(neck * [wide, 1, 1], face.dark(0.72))
    y = chin + 12
    shirt = np.array(
        [
            [-2.6, y + 18],
            [-1.5, y + 4],
            [-0.72, y - 3],
            [-0.3, y + 6],
            [0.3, y + 6],
            [0.72, y - 3],
            [1.5, y + 4],
            [2.6, y + 18],
            [2.6, y + 90],
            [-2.6, y + 90],
        ]
    )
    shirt = np.concatenate([shirt * [wide, 1], np.full((len(shirt), 1), -8.0)], 1)
    canvas.body(shirt, face.how.clothes)
