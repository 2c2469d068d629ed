"""Eyes, brows, nose and mouth, painted onto the head's surface."""

import numpy as np

from components.datasets.synthetic.canvas import Canvas
from components.datasets.synthetic.geometry import curve
from components.datasets.synthetic.shape import Face, mouth_corner

_ALONG = np.linspace(-1, 1, 13)
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 21)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 21)[:-1])], 1)


def paint_eye(canvas: Canvas, face: Face, side: int) -> None:
    """One eye with its lids and the shadow around it; `side` is -1 for the viewer's left."""
    who, how, head = face.who, face.how, face.head
    squint = 1 - 0.22 * max(0.0, how.smile)
    opening = who.eye_height * how.eyes_open * squint * (1 - 0.14 * face.worn)
    x = side * (who.eye_distance + _ALONG * who.eye_width)
    tilt = -who.eye_tilt * _ALONG * who.eye_width
    peak = np.clip(1 - np.abs(_ALONG - who.eye_peak * (1 - _ALONG**2)) ** 2.2, 0, 1)
    upper = tilt - opening * peak
    lower = tilt + opening * 0.72 * (1 - _ALONG**2) * (1 + 0.25 * _ALONG)
    lids = head.lift(np.stack([x, upper], 1), -1.6), head.lift(np.stack([x, lower], 1), -1.6)
    almond = np.concatenate([lids[0], lids[1][::-1]])
    around = np.array([side * who.eye_distance, -2.5]) + _CIRCLE * [who.eye_width * 1.45, opening + 4.8]
    canvas.shade(head.lift(around), 0.88 - 0.05 * face.worn)
    canvas.fill(almond, np.array([236, 234, 232]) - (255 - face.skin) * 0.08)
    _paint_iris(canvas, face, side, np.stack([x, upper, lower]))
    lash = face.dark(0.30) * (1 - 0.4 * who.lashes)
    outer = np.array([x[-1] + side * (0.6 + 1.6 * who.lashes), upper[-1] - 0.5 - 1.3 * who.lashes])
    lid = np.concatenate([np.stack([x, upper], 1), outer[None]])
    canvas.line(head.lift(lid, -1.2), lash, 0.9 + 0.7 * who.lashes)
    canvas.line(lids[1][1:], face.dark(0.62), 0.5, 0.75)
    if who.lid_crease > 0.5:
        fold = np.stack([x, upper - who.lid_crease * (0.45 + 0.55 * peak)], 1)
        canvas.line(head.lift(fold, -0.6), face.dark(0.68), 0.55, 0.85)


def _paint_iris(canvas: Canvas, face: Face, side: int, lids: np.ndarray) -> None:
    """Iris, pupil and spark, cut off by the lids; `lids` are x, upper y and lower y as rows [3, 13]."""
    who, how, head = face.who, face.how, face.head
    x, upper, lower = lids[:, np.argsort(lids[0])]
    opening = float((lower - upper).max()) / 1.72
    centre = np.array(
        [side * who.eye_distance + how.gaze[0] * who.eye_width * 0.32, how.gaze[1] * 1.2 - opening * 0.12]
    )

    def disc(radius: float, colour: np.ndarray) -> None:
        ring = centre + _CIRCLE * radius
        ring[:, 1] = np.clip(ring[:, 1], np.interp(ring[:, 0], x, upper), np.interp(ring[:, 0], x, lower))
        canvas.fill(head.lift(ring, -1.4), colour)

    iris = np.array(who.iris_colour)
    disc(who.iris, iris * 0.55)
    disc(who.iris * 0.82, iris * 1.08)
    disc(who.iris * 0.45, np.array([16.0, 13, 14]))
    spark = centre + np.array([1.2 if how.light[0] > 0 else -1.2, -1.3])
    canvas.dot(head.lift(spark[None], -1.0)[0], 0.75, (255, 255, 255), 0.92)


def paint_brow(canvas: Canvas, face: Face, side: int) -> None:
    """One eyebrow."""
    who = face.who
    rise = (
        who.brow_arch * (1 - ((_ALONG - 0.3) / 1.3) ** 2)
        + who.brow_tilt * (_ALONG + 0.2)
        - 0.7 * np.maximum(_ALONG - 0.5, 0)
    )
    y = -who.brow_height - face.how.brow_raise - rise + 0.8 * face.worn * np.maximum(_ALONG, 0)
    x = side * (who.eye_distance + 0.8 + _ALONG * who.brow_length)
    thick = who.brow_thickness * np.interp(_ALONG, [-1, -0.8, 0.1, 1], [0.65, 1.0, 0.85, 0.15])
    points = np.stack([np.concatenate([x, x[::-1]]), np.concatenate([y - thick / 2, (y + thick / 2)[::-1]])], 1)
    colour = face.hair * 0.78 if face.hair.mean() > 70 else face.hair
    canvas.fill(face.head.lift(points, 1.0), colour * 0.8 + face.dark(0.5) * 0.2, 0.92)


def paint_nose(canvas: Canvas, face: Face) -> None:
    """The nose: its silhouette, its two sides in the light's direction, nostrils and wings."""
    who, head = face.who, face.head
    length, wing = who.nose_length, who.nose_width * (1 + 0.05 * face.how.smile)
    high = who.nose_height
    ridge = head.lift(
        np.array([[0, -6], [0, length * 0.35], [0, length * 0.72], [0, length], [0, length + 3.6]]),
        np.array([0.5, high * 0.38, high * 0.74, high, high * 0.45]),
    )
    light = np.array(face.how.light) @ canvas.pose.rotation
    for side in (-1, 1):
        flank = np.array(
            [
                [who.nose_bridge * 0.9, -6],
                [who.nose_bridge, length * 0.4],
                [wing, length - 1.5],
                [wing * 0.8, length + 2.6],
            ]
        )
        sides = head.lift(flank * [side, 1], np.array([0.0, 0.8, 1.5, 1.0]))
        canvas.fill(np.concatenate([ridge, sides[::-1]]), face.skin)
        strength = 1 - face.how.ambient
        canvas.shade(np.concatenate([ridge[1:4], sides[:0:-1]]), 1 + strength * (0.42 * side * light[0] - 0.1))
    under = np.array([[-wing * 0.8, length + 2.2], [0, length + 1.2], [wing * 0.8, length + 2.2], [0, length + 5.0]])
    canvas.shade(head.lift(under, np.array([2.0, high * 0.8, 2, 1])), 0.78)
    canvas.crease(ridge[:4], 1.1, 2)
    for side in (-1, 1):
        hole = np.array([side * wing * 0.46, length + 2.3]) + _CIRCLE * [wing * 0.2, 0.85]
        canvas.fill(head.lift(hole, high * 0.32), face.dark(0.42), 0.85)
        arc = curve(np.array([[wing * 0.72, length - 3.4], [wing * 1.02, length - 0.6], [wing * 0.86, length + 2.8]]))
        canvas.line(head.lift(arc * [side, 1], 1.6), face.dark(0.66), 0.7, 0.8)


def paint_mouth(canvas: Canvas, face: Face) -> None:
    """Lips, and the teeth behind them."""
    who, how, head = face.who, face.how, face.head
    corner = mouth_corner(face)
    bend = corner[1] - who.mouth
    x = _ALONG * corner[0]
    opening = 6.5 * how.mouth_open + (1.6 * max(0.0, how.smile - 0.55) if how.mouth_open else 0.0)
    arch = 1 - np.abs(_ALONG) ** 2.2
    middle = who.mouth + bend * _ALONG**2 * np.abs(_ALONG) ** 0.3
    thin = (1 - 0.3 * face.worn) * (1 - 0.2 * max(0.0, how.smile))
    bow = who.lip_bow * np.exp(-((_ALONG / 0.16) ** 2))
    top = middle - who.upper_lip * thin * arch * (1 + 0.35 * np.abs(_ALONG)) + bow - opening * 0.2 * arch
    bottom = middle + who.lower_lip * thin * arch + opening * arch
    seam = 0.35 * np.cos(_ALONG * 2 * np.pi) * who.lip_bow * arch

    def band(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
        outline = np.stack([np.concatenate([x, x[::-1]]), np.concatenate([upper, lower[::-1]])], 1)
        return head.lift(outline, 1.5)

    gap_top, gap_bottom = middle + seam - opening * 0.2 * arch, middle + seam + opening * arch
    lips = face.lips()
    under = np.array([0, who.mouth + who.lower_lip + opening + 3.4]) + _CIRCLE * [corner[0] * 0.6, 1.7]
    canvas.shade(head.lift(under), 0.86)
    canvas.fill(band(top, bottom), lips)
    canvas.fill(band(top, gap_top), lips * 0.86)
    if opening:
        teeth = np.minimum(gap_top + min(3.2, 0.7 * opening + 0.6) * arch, gap_bottom)
        canvas.fill(band(gap_top, gap_bottom), (70, 28, 30))
        canvas.fill(band(gap_top, teeth), (240, 237, 230))
    else:
        canvas.line(head.lift(np.stack([x, middle + seam], 1), 1.6), lips * 0.5, 0.7)
    shine = _CIRCLE * [corner[0] * 0.36, who.lower_lip * 0.16]
    shine = shine + [0, who.mouth + opening + who.lower_lip * thin * 0.55]
    canvas.fill(head.lift(shine, 1.8), (255, 235, 230), 0.22)
    for side in (-1, 1):
        canvas.dot(head.lift((corner * [side, 1])[None], 1.4)[0], 0.7, face.dark(0.6), 0.6)
