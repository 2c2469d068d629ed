"""What hides a face: glasses, a cap, a hand, a thing held up."""

import numpy as np

from components.datasets.synthetic.canvas import Canvas
from components.datasets.synthetic.geometry import curve
from components.datasets.synthetic.shape import Face

_TURN = np.linspace(0, 2 * np.pi, 25)[:-1]


def paint_glasses(canvas: Canvas, face: Face) -> None:
    """A frame in front of the eyes; lenses are clear, or dark in sunglasses."""
    how, head = face.how, face.head
    if how.glasses == "none":
        return
    power = 1.0 if how.glasses == "round" else 2.6  # superellipse: 2 is round
    cosine, sine = np.cos(_TURN), np.sin(_TURN)
    exponent = 2 / (1 + power)
    lens = np.stack(
        [np.sign(cosine) * np.abs(cosine) ** exponent * 13.2, np.sign(sine) * np.abs(sine) ** exponent * 10.4], 1
    )
    dark = how.glasses == "sun"
    depth = float(head.lift(np.array([[0.0, -3.0]]))[0, 2]) + 6.0
    for side in (-1, 1):
        flat = lens + [side * 17.6, 1.2]
        rim = np.concatenate([flat, (depth - 0.012 * flat[:, 0] ** 2)[:, None]], 1)
        canvas.fill(rim, (28, 26, 30) if dark else (225, 240, 250), 0.88 if dark else 0.1)
        canvas.line(np.concatenate([rim, rim[:2]]), how.glasses_colour, 1.5 if how.glasses != "round" else 1.0)
        hinge = np.array([side * 30.6, -2.0, depth - 11.0])
        ear = np.array([side * (float(head.width_at(-2.0)) + 0.5), -3.0, -2.0])
        if side * canvas.pose.rotation[0, 2] < 0.12:  # the far arm is behind the head
            canvas.line(np.stack([hinge, ear]), how.glasses_colour, 1.3)
        glint = np.array(
            [[side * 17.6 - 6, -4.5], [side * 17.6 - 2.5, -6.5], [side * 17.6 - 6, 3.0], [side * 17.6 - 8, 2.0]]
        )
        canvas.fill(np.concatenate([glint, np.full((4, 1), depth - 3)], 1), (255, 255, 255), 0.16)
    bridge = curve(np.array([[-4.6, 0.0, depth - 0.3], [0, -2.2, depth + 0.6], [4.6, 0.0, depth - 0.3]]))
    canvas.line(bridge, how.glasses_colour, 1.4)


def paint_cap(canvas: Canvas, face: Face) -> None:
    """A cap with a peak."""
    how, head = face.how, face.head
    if not how.cap:
        return
    colour = np.array(how.clothes, np.float64)
    levels = np.linspace(-76, -27, 12)
    rings = head.rings(levels, head.width_at(levels), np.full(12, 4.5))
    rings[:, :, 1] += np.interp(levels, [-76, -50], [-7, 0])[:, None]
    canvas.body(canvas.pose.silhouette(rings), colour)
    span = np.linspace(-1.25, 1.25, 15)
    band = head.at(span, np.full(15, -27.0), 4.6)
    peak = head.at(span, np.full(15, -24.0) + 5 * np.cos(span), 5.0 + 20 * np.cos(span * 1.2) ** 2)
    canvas.line(head.at(span, np.full(15, -30.0), 4.6), colour * 0.8, 1.0)
    canvas.fill(np.concatenate([band, peak[::-1]]), colour * 0.72)
    canvas.shade(np.concatenate([band, (peak + [0, 7, -8])[::-1]]), 0.72)


def paint_cover(canvas: Canvas, face: Face) -> None:
    """A hand at the cheek, a phone or a scarf."""
    how, side = face.how, face.how.cover_side
    if how.cover == "hand":
        _hand(canvas, face, side)
    elif how.cover == "phone":
        body = np.array([[0.0, 0], [17, 3], [12, 46], [-5, 43]]) * [side, 1] + [56 + side * 30, 52]
        canvas.fill(body, (34, 35, 40))
        canvas.fill(body * 0.86 + body.mean(0) * 0.14, (58, 62, 72))
        _hand(canvas, face, side, lower=24.0)
    elif how.cover == "scarf":
        top = curve(np.array([[6.0, 92], [30, 97 + side], [56, 95], [82, 97 - side], [106, 92]]))
        colour = np.array(how.clothes, np.float64)
        canvas.fill(np.concatenate([top, [[112.0, 118], [0, 118]]]), colour)
        for row in range(3):
            canvas.line(top + [0, 4.0 + 5 * row], colour * 0.8, 0.8)


def _hand(canvas: Canvas, face: Face, side: int, lower: float = 0.0) -> None:
    """Four fingers over the cheek, from outside the picture."""
    skin = face.skin
    for finger in range(4):
        y = 62 + 9.4 * finger + lower
        tip = np.array([56 + side * (19 + 3.2 * abs(finger - 1.3)), y - 4])
        root = np.array([56 + side * 60, y + 10])
        middle = (tip + root) / 2 + [0, -2.5]
        for grow, colour in ((1.0, face.dark(0.72)), (0.84, skin * 0.97)):
            line = curve(np.stack([tip, middle, root]))
            canvas.line(line, colour, 9.2 * grow / abs(canvas.pose.scale))
            canvas.dot(tip, 4.5 * grow, colour)
        canvas.dot(tip + [side * 0.4, -0.3], 2.0, np.minimum(skin * 1.07 + 8, 255), 0.6)
