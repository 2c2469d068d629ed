"""Which face of a photo counts, and why none does. Numpy only."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from arcface_common.errors import DataError
from components.alignment.crop import Placement, place
from components.alignment.face import Face
from components.alignment.settings import AlignSettings

NO_FACE = "no face"
SEVERAL = "several faces"  # a reason is "kind" or "kind: more"


class Choice(NamedTuple):
    """The face of a photo that counts, or would if it fulfilled the settings.

    Attributes:
      face: None where the detector found none.
      placement: where its crop lies; None where its points give none.
      rejected: why it doesn't become a crop; "" if it does.
    """

    face: Face | None
    placement: Placement | None
    rejected: str


def choose(faces: Sequence[Face], width: int, height: int, settings: AlignSettings) -> Choice:
    """Chooses among the faces that fulfil the settings; where none does, says what the nearest to be chosen lacks.

    Args:
      faces: of one photo, in its pixels.
      width: of the photo.
      height: of the photo.
      settings: the limits, and the rule where several faces are left.
    """
    if not faces:
        return Choice(None, None, NO_FACE)
    judged = [_judge(face, width, height, settings) for face in faces]
    fit = [choice for choice in judged if not choice.rejected]
    if settings.which == "only" and len(fit) > 1:
        return fit[0]._replace(rejected=f"{SEVERAL}: {len(fit)}")
    weights = [_weight(choice.face, width, height, settings.which) for choice in fit or judged]
    return (fit or judged)[int(np.argmax(weights))]


def shorter_side(face: Face) -> float:
    """A face's size: the shorter side of its box, in pixels."""
    left, top, right, bottom = face.box
    return float(min(right - left, bottom - top))


def _judge(face: Face, width: int, height: int, settings: AlignSettings) -> Choice:
    try:
        placement = place(face.points, width, height)
    except DataError:
        return Choice(face, None, "one point: expected five at different places")
    size = shorter_side(face)
    rejected = ""
    if face.score < settings.min_score:
        rejected = f"low score: {face.score:.2f}, min-score is {settings.min_score:g}"
    elif size < settings.min_face:
        rejected = f"small face: {size:.0f} pixels, min-face is {settings.min_face}"
    elif _is_mirrored(face.points):
        rejected = "mirrored points: expected the left eye to be the one on the left of the picture"
    elif placement.upscale > settings.max_upscale:
        rejected = f"enlarged: {placement.upscale:.2f} times, max-upscale is {settings.max_upscale:g}"
    elif placement.padding > settings.max_padding:
        rejected = f"cut off: {placement.padding:.2f} outside of the photo, max-padding is {settings.max_padding:g}"
    return Choice(face, placement, rejected)


def _is_mirrored(points: np.ndarray) -> bool:
    """Whether the mouth lies on the wrong side of the line from the first eye to the second, turned or not."""
    across = points[1] - points[0]
    down = (points[3] + points[4]) / 2 - points[0]
    return bool(across[0] * down[1] < across[1] * down[0])


def _weight(face: Face | None, width: int, height: int, which: str) -> float:
    """What the rule goes by; the face with the largest is chosen."""
    assert face is not None
    left, top, right, bottom = face.box
    if which == "surest":
        return face.score
    area = (right - left) * (bottom - top)
    if which == "largest":
        return float(area)
    away = ((left + right - width) / 2) ** 2 + ((top + bottom - height) / 2) ** 2
    return float(area - 2 * away)
