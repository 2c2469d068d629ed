"""Hair and ears: what frames the face."""

import dataclasses

import numpy as np
from PIL import ImageDraw

from components.datasets.synthetic.canvas import SCALE, Canvas, ink
from components.datasets.synthetic.shape import Face, ramp

_SPAN = np.linspace(-1, 1, 25)
_TEMPLE = -6.0  # where the hairline ends at the sides, just above the eyes


@dataclasses.dataclass(frozen=True)
class Cut:
    """One hair style.

    Attributes:
      top: height above the skull, pixels.
      side: how far the sides stand off, pixels.
      bottom: how far down the sides reach.
      cover: half-angle of the face left free at eye level, radians.
      curl: size of the bumps of the outline, pixels.
      lock: half-angle left free at the jaw (hair in front of the ears), radians.
    """

    top: float
    side: float
    bottom: float
    cover: float = 1.42
    curl: float = 0.0
    lock: float = 1.6


CUTS = {
    "buzz": Cut(1.2, 0.5, 8.0),
    "short": Cut(6.0, 2.2, 12.0),
    "quiff": Cut(11.0, 1.6, 10.0),
    "bob": Cut(6.5, 6.0, 46.0, 1.25, lock=1.2),
    "long": Cut(5.5, 5.0, 84.0, 1.3, lock=1.22),
    "curly": Cut(11.0, 8.5, 30.0, 1.3, 4.2, lock=1.5),
    "balding": Cut(0.8, 2.6, 14.0),
    "tied": Cut(2.6, 0.8, 10.0),
}


def _cut(face: Face) -> tuple[str, Cut]:
    name = face.how.other_cut or face.who.cut
    return name, CUTS[name]


def _hairline(face: Face, name: str) -> np.ndarray:
    """From the left temple over the forehead to the right one, on the head [25, 3]."""
    who = face.who
    gone = who.recession * ramp(face.age, 26, 68)
    high = who.hairline - 9.0 * gone - (15.0 if name == "balding" else 0.0)
    corners = 7.0 * gone * np.exp(-(((np.abs(_SPAN) - 0.55) / 0.2) ** 2))
    parted = 2.2 * np.tanh((_SPAN - who.parting) * 4) * np.sign(who.parting or 1) * (name in ("short", "bob", "long"))
    ragged = {"short": 1.1, "quiff": 0.8, "curly": 1.6}.get(name, 0.25) * np.sin(_SPAN * 31 + who.hair_wave * 40)
    y = high + (_TEMPLE - high) * np.abs(_SPAN) ** 2.5
    y += (parted + ragged) * (1 - _SPAN**2) - corners * (1 - np.abs(_SPAN) ** 6)
    return face.head.at(_SPAN * CUTS[name].cover * 0.98, y, 0.4)


def _volume(face: Face, cut: Cut, levels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Half-widths and thickness of the hair at each height."""
    widths = face.head.width_at(levels)
    widest = float(face.head.widths.max())
    hanging = cut.bottom > 20
    if hanging:  # it falls straight down from where the head is widest
        widths = np.where(levels > -5, np.maximum(widths, widest * (0.97 if cut.bottom > 60 else 0.95)), widths)
    volume = face.who.hair_volume * rng.uniform(0.9, 1.12)
    if face.how.cap:
        volume *= 0.5
    thick = volume * (cut.side + (cut.top - cut.side) * np.clip((-14 - levels) / 40, 0, 1))
    if not hanging:
        thick = thick * np.clip((cut.bottom + 6 - levels) / 22, 0, 1)
    wave = face.who.hair_wave * (1.8 if hanging else 0.5)
    return widths, thick + wave * np.sin(levels * 0.23 + rng.uniform(0, 6)) * (levels > -40)


def paint_back_hair(canvas: Canvas, face: Face) -> None:
    """Hair that hangs behind the neck; painted before the head."""
    name, cut = _cut(face)
    if cut.bottom < 20:
        return
    rng = np.random.default_rng(face.how.hair_change)
    levels = np.linspace(-60, cut.bottom, 16)
    widths, thick = _volume(face, cut, levels, rng)
    outline = canvas.pose.silhouette(face.head.rings(levels, widths, thick))
    canvas.body(outline, face.hair * 0.62)


def paint_ear(canvas: Canvas, face: Face, side: int) -> None:
    """One ear."""
    who, head = face.who, face.head
    turn = np.linspace(0, 2 * np.pi, 17)[:-1]
    size = who.ear * (1 + 0.1 * face.worn)  # ears grow all life long
    narrow = 1 - 0.18 * (np.sin(turn) > 0.3)  # towards the lobe
    shell = np.stack([np.cos(turn) * 0.5 + 0.12 * np.sin(turn), np.sin(turn)], 1) * narrow[:, None]
    width = float(head.width_at(6.0))
    for grow, colour in ((1.0, face.dark(0.93)), (0.62, face.dark(0.74))):
        y = 6.0 + shell[:, 1] * 12.5 * size * grow
        depth = -4.0 - shell[:, 0] * 10.0 * size * grow
        x = side * (width - 1.2 + who.ear_out * (0.25 + 0.55 * (depth < -3)) + 0.6 * (grow < 1))
        canvas.body(np.stack([x, y, depth], 1), colour)


def paint_hair(canvas: Canvas, face: Face) -> None:
    """The cap of hair, locks in front of the ears, the fringe, and strands that show which way it lies."""
    name, cut = _cut(face)
    rng = np.random.default_rng(face.how.hair_change)
    head, who = face.head, face.who
    levels = np.concatenate([np.linspace(-76, -50, 8), np.linspace(-44, cut.bottom, 14)])
    widths, thick = _volume(face, cut, levels, rng)
    rings = head.rings(levels, widths, thick)
    rings[:, :, 1] += np.interp(levels, [-76, -50], [-(cut.top * who.hair_volume), 0])[:, None]
    outline = canvas.pose.silhouette(rings)
    mask, draw = canvas.mask()
    draw.polygon(canvas.flat(outline), fill=255)
    if cut.curl:
        _curls(draw, outline, cut.curl, rng)
    edge = _hairline(face, name)
    draw.polygon(canvas.flat(_free(canvas, face, cut, edge)), fill=0)
    layer, paint = canvas.layer(face.hair)
    if who.fringe != "none" and not face.how.other_cut:
        fringe = _fringe(face, name, rng)
        draw.polygon(canvas.flat(fringe), fill=255)
        edge = fringe[len(fringe) // 2 + 1 :]
    _strands(canvas, paint, face, cut, rng)
    if name == "buzz":
        mask = mask.point([int(x * 0.72) for x in range(256)])
    canvas.paste(layer, mask)
    canvas.crease(edge + [0, 2.0, 0], 0.84, 4)


def _free(canvas: Canvas, face: Face, cut: Cut, hairline: np.ndarray) -> np.ndarray:
    """Outline of the face that hair leaves free, pixels [N, 2]: hairline, cheeks, and the neck below."""
    head = face.head
    levels = np.linspace(_TEMPLE - 2, 90, 16)
    widths, neck = head.width_at(levels), face.who.face_width * 0.62
    widths = np.where(levels < head.levels[-1] - 8, widths, np.maximum(widths, neck))
    limit = np.interp(levels, [-8, 12, 40], [cut.cover, max(cut.cover, cut.lock), cut.lock])
    sides = canvas.pose.silhouette(head.rings(levels, widths, np.full(len(levels), 0.3), limit))
    right, left = np.split(sides, 2)
    return np.concatenate([left, canvas.pose.project(hairline), right])


def _curls(draw: ImageDraw.ImageDraw, outline: np.ndarray, size: float, rng: np.random.Generator) -> None:
    """Discs along the outline."""
    count = 46
    steps = np.linspace(0, len(outline) - 1, count)
    x, y = (np.interp(steps, np.arange(len(outline)), outline[:, i]) for i in (0, 1))
    radius = size * rng.uniform(0.7, 1.3, count)
    for px, py, r in zip(x * SCALE, y * SCALE, radius * SCALE, strict=True):
        draw.ellipse((px - r, py - r, px + r, py + r), fill=255)


def _fringe(face: Face, name: str, rng: np.random.Generator) -> np.ndarray:
    """The hair over the forehead, on the head [N, 3]."""
    who = face.who
    top = _hairline(face, name)[3:-3]
    span = np.linspace(-1, 1, 17)
    if who.fringe == "straight":
        low = -who.brow_height - 5.0 + 1.4 * np.abs(span) ** 2 + rng.normal(0, 0.7, 17)
    else:
        way = np.sign(who.parting or 1)
        low = who.hairline + 5 + (8 + 2 * who.hair_volume) * (0.5 - 0.5 * way * span) ** 1.3 + rng.normal(0, 0.6, 17)
    under = face.head.at(span * 1.22, np.minimum(low, -9.0), 3.0)
    return np.concatenate([top + [0, -4, 2], under[::-1]])


def _strands(canvas: Canvas, paint: ImageDraw.ImageDraw, face: Face, cut: Cut, rng: np.random.Generator) -> None:
    """Lines from the parting down, lighter and darker than the hair."""
    head, who = face.head, face.who
    start = who.parting * 0.6
    count = 26
    ends = np.linspace(-1.75, 1.75, count) + rng.normal(0, 0.05, count)
    tone = rng.uniform(-1, 1, count)
    steps = np.linspace(0, 1, 7)
    bottom = min(cut.bottom, 70.0)
    away = (ends - start)[:, None]
    azimuth = start + away * steps**0.7 + who.hair_wave * 0.05 * np.sin(steps * 14 + tone[:, None] * 3)
    y = -74 + (bottom + 74) * steps ** (1.2 + 0.8 * np.abs(away))
    lines = head.at(azimuth, y, cut.side * 0.9 + (cut.top - cut.side) * (1 - steps))
    for points, shade in zip(canvas.pose.project(lines), tone, strict=True):
        colour = face.hair * (1 + 0.26 * shade) + (8 if shade > 0 else 0)
        paint.line(canvas.flat(points), fill=ink(colour, 0.4), width=6)
