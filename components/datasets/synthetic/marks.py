"""What time and chance leave on a face: moles, freckles, wrinkles, a beard."""

import numpy as np
from PIL import ImageFilter

from components.datasets.synthetic.canvas import Canvas
from components.datasets.synthetic.geometry import curve
from components.datasets.synthetic.shape import Face, ramp


def paint_marks(canvas: Canvas, face: Face) -> None:
    """Blush, freckles and moles, on the skin under everything else."""
    who, head = face.who, face.head
    circle = np.linspace(0, 2 * np.pi, 15)[:-1]
    cheek = np.stack([np.cos(circle) * 9, np.sin(circle) * 7], 1)
    lift = 2.5 * max(0.0, face.how.smile)
    for side in (-1, 1):
        centre = np.array([side * face.who.face_width * 0.55, 22 - lift])
        canvas.shade(head.lift(cheek + centre), 1.05)
        for grow in (1.0, 0.75, 0.5):
            canvas.fill(head.lift(cheek * grow + centre), (226, 96, 88), 0.055 * who.blush)
    spots = who.freckles + who.marks
    if not spots:
        return
    rows = np.array(spots)
    seen = canvas.pose.project(head.lift(rows[:, :2], 0.3))
    for position, (spot, place) in enumerate(zip(rows, seen, strict=True)):
        mole = position >= len(who.freckles)
        canvas.dot(place, spot[2], face.dark(0.42 if mole else 0.7), 0.95 if mole else 0.65)


def paint_age(canvas: Canvas, face: Face) -> None:
    """Folds: from the nose to the mouth at any age when smiling, the others with the years."""
    who, head, worn = face.who, face.head, face.worn
    smile = max(0.0, face.how.smile)
    depth = 0.16 * smile + 0.34 * worn
    wing, mouth = who.nose_width, who.mouth
    for side in (-1, 1):
        fold = curve(
            np.array(
                [[wing + 1, who.nose_length - 1], [wing + 5 + smile, mouth - 10], [who.mouth_width + 4.5, mouth + 1]]
            )
        )
        if depth > 0.03:
            canvas.crease(head.lift(fold * [side, 1]), 1 - depth, 2)
        if worn > 0.12:
            bag = curve(np.array([[-6.0, 5.5], [0, 8.2], [6.5, 6.0]])) + [side * who.eye_distance, 0]
            canvas.crease(head.lift(bag), 1 - 0.3 * worn, 2)
            canvas.line(head.lift(bag * [1, 0.95]), face.dark(0.72), 0.5, 0.55 * worn)
            canvas.line(head.lift(fold * [side, 1]), face.dark(0.62), 0.6, 0.6 * worn)
            outer = who.eye_distance + who.eye_width + 2
            for slope in (-2.5, 0.3, 3.0):
                crow = np.array([[outer, slope * 0.3], [outer + 4.2, slope + 0.6]])
                canvas.line(head.lift(crow * [side, 1]), face.dark(0.66), 0.5, 0.7 * worn)
            jowl = curve(np.array([[who.mouth_width + 3, mouth + 5], [who.mouth_width + 5, mouth + 12]]))
            canvas.crease(head.lift(jowl * [side, 1]), 1 - 0.28 * worn, 2)
    if worn > 0.15:
        for row in range(3):
            y = -who.brow_height - 8.5 - 4.6 * row
            line = curve(np.array([[-17.0, y + 1.2], [-8, y - 0.5], [0, y + 0.5], [9, y - 0.6], [17, y + 1.3]]))
            canvas.line(head.lift(line), face.dark(0.7), 0.55, 0.75 * worn)
            canvas.crease(head.lift(line + [0, 1.2]), 1 - 0.16 * worn, 2)
        for side in (-1, 1):
            frown = np.array([[side * 3.0, -9.0], [side * 2.4, -3.5]])
            canvas.line(head.lift(frown), face.dark(0.66), 0.5, 0.55 * ramp(worn, 0.2, 0.9))


def paint_beard(canvas: Canvas, face: Face) -> None:
    """Stubble, moustache, goatee or full beard, under the lips."""
    kind = face.who.beard
    # Stubble lets the skin through; no beard is lighter than its shadow on the skin.
    colour = np.minimum(face.hair * 0.85 + face.dark(0.5) * 0.15, face.dark(0.62))
    if kind in ("stubble", "full"):
        _jaw_beard(canvas, face, colour, stubble=kind == "stubble")
    if kind in ("moustache", "goatee"):
        _moustache(canvas, face, colour)
    if kind == "goatee":
        _goatee(canvas, face, colour)


def _jaw_beard(canvas: Canvas, face: Face, colour: np.ndarray, *, stubble: bool) -> None:
    """From ear to ear along the jaw and over the upper lip, with a soft edge."""
    who, head = face.who, face.head
    chin, lip, wide = float(head.levels[-1]), who.mouth - who.upper_lip, who.mouth_width
    levels = np.linspace(6, chin + (0.5 if stubble else 3.0), 14)
    widths = head.width_at(np.minimum(levels, chin - 0.6))
    thick = np.full(len(levels), 0.0 if stubble else 1.4)
    outer = canvas.pose.silhouette(head.rings(levels, widths, thick, np.full(len(levels), 1.42)))
    cheek = curve(np.array([[0.93, 6.0], [0.8, 24.0], [0.62, 33.0]])) * [who.face_width, 1]
    right = np.concatenate([cheek, [[wide + 3.5, lip + 1], [wide * 0.8, lip - 3.2], [0, lip - 4.2]]])
    shaven = np.concatenate([right, right[-2::-1] * [-1, 1], [[-wide, -20.0], [wide, -20.0]]])
    mask, draw = canvas.mask()
    draw.polygon(canvas.flat(outer), fill=77 if stubble else 237)
    draw.polygon(canvas.flat(head.lift(shaven, 0.5)), fill=0)
    layer, _ = canvas.layer(colour)
    canvas.paste(layer, mask.filter(ImageFilter.BoxBlur(3)))


def _moustache(canvas: Canvas, face: Face, colour: np.ndarray) -> None:
    wide, lip = face.who.mouth_width, face.who.mouth - face.who.upper_lip
    x = np.array([-0.95, -0.5, 0, 0.5, 0.95]) * wide
    top = curve(np.stack([x, lip + np.array([0.6, -4.9, -4.6, -4.9, 0.6])], 1))
    base = curve(np.stack([x, lip + np.array([0.9, -1.4, -1.2, -1.4, 0.9])], 1))
    canvas.fill(face.head.lift(np.concatenate([top, base[::-1]]), 1.6), colour, 0.92)


def _goatee(canvas: Canvas, face: Face, colour: np.ndarray) -> None:
    chin, low = float(face.head.levels[-1]), face.who.mouth + face.who.lower_lip + 3.0
    x = np.array([-0.3, 0, 0.3, 0.62, 0.4, 0, -0.4, -0.62, -0.3]) * face.who.mouth_width
    y = [low + 1, low - 0.5, low + 1, chin - 6, chin - 1.5, chin + 0.5, chin - 1.5, chin - 6, low + 1]
    patch = curve(np.stack([x, y], 1))
    canvas.fill(face.head.lift(np.minimum(patch, [99, chin - 0.5]), 1.2), colour, 0.92)
