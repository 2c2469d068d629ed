"""Who somebody is: the proportions, colours and marks that stay the same from picture to picture."""

import dataclasses
from typing import Any

import numpy as np

SKIN = np.array(
    [[252, 224, 202], [244, 204, 176], [228, 180, 144], [203, 150, 110], [165, 112, 76], [122, 78, 54], [86, 55, 41]],
    np.float64,
)
HAIR = np.array(
    [
        [30, 26, 28],
        [48, 34, 28],
        [74, 50, 36],
        [104, 68, 42],
        [126, 70, 40],
        [168, 84, 44],
        [158, 120, 74],
        [206, 168, 110],
        [226, 200, 150],
    ],
    np.float64,
)
IRIS = np.array(
    [[58, 36, 24], [88, 56, 32], [118, 90, 48], [92, 112, 66], [74, 110, 140], [98, 140, 170], [116, 124, 128]],
    np.float64,
)
HAIR_CUTS = ("buzz", "short", "quiff", "bob", "long", "curly", "balding", "tied")
FRINGES = ("none", "straight", "swept")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")


@dataclasses.dataclass(frozen=True)
class Identity:
    """One person. Lengths in pixels of the crop (the eyes of the template are 35 apart), colours in RGB 0..255.

    Attributes:
      age: years at the time of an ordinary picture.
      face_width: half-width at the cheekbones.
      jaw: half-width at the corner of the jaw, in parts of `face_width`.
      chin_width: half-width of the chin, in parts of `face_width`.
      chin: height of the chin below the eyes.
      temple: half-width at the temples, in parts of `face_width`.
      hairline: height of the hairline (negative: above the eyes).
      eye_distance: half the distance of the eyes' centres.
      eye_width: half the width of an eye.
      eye_height: half the opening of an eye.
      eye_tilt: radians; positive lifts the outer corner.
      eye_peak: where the upper lid is highest, -1 (inner corner) .. 1.
      lid_crease: distance of the upper lid's crease, 0 for none.
      lashes: 0 .. 1.
      iris: radius.
      brow_height: above the eyes.
      brow_thickness: at the thick end.
      brow_arch: rise of the middle.
      brow_tilt: rise towards the outer end.
      brow_length: half the length.
      nose_length: from the eyes to the tip.
      nose_width: half the width at the wings.
      nose_bridge: half the width of the bridge.
      nose_height: how far the tip stands out.
      mouth: height of the mouth below the eyes.
      mouth_width: half the width.
      upper_lip: thickness.
      lower_lip: thickness.
      lip_bow: depth of the cupid's bow.
      mouth_tilt: rise of the corners at rest.
      ear: size factor.
      ear_out: how far the ears stand off.
      skin: colour.
      blush: redness of cheeks and lips, 0 .. 1.
      hair: colour before it greys.
      iris_colour: colour.
      cut: one of HAIR_CUTS.
      fringe: one of FRINGES.
      parting: side of the parting, -1 .. 1.
      hair_volume: factor.
      hair_wave: 0 .. 1.
      recession: how far the hairline goes back with age, 0 .. 1.
      greying: factor of how early the hair greys.
      beard: one of BEARDS.
      marks: moles as rows (x, y, radius).
      freckles: freckles as rows (x, y, radius); empty for most people.
    """

    age: float
    face_width: float
    jaw: float
    chin_width: float
    chin: float
    temple: float
    hairline: float
    eye_distance: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    eye_peak: float
    lid_crease: float
    lashes: float
    iris: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_length: float
    nose_length: float
    nose_width: float
    nose_bridge: float
    nose_height: float
    mouth: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    lip_bow: float
    mouth_tilt: float
    ear: float
    ear_out: float
    skin: tuple[float, float, float]
    blush: float
    hair: tuple[float, float, float]
    iris_colour: tuple[float, float, float]
    cut: str
    fringe: str
    parting: float
    hair_volume: float
    hair_wave: float
    recession: float
    greying: float
    beard: str
    marks: tuple[tuple[float, float, float], ...]
    freckles: tuple[tuple[float, float, float], ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Identity":
        """Somebody new.

        Args:
          rng: source of all that is random about them.

        Returns:
          The identity.
        """
        masculine = bool(rng.random() < 0.5)
        tone = rng.beta(1.1, 1.5)
        return cls(**_proportions(rng, masculine), **_colours(rng, tone, masculine), **_hair(rng, tone, masculine))


def _proportions(rng: np.random.Generator, masculine: bool) -> dict[str, Any]:
    def between(low: float, high: float) -> float:
        return float(low + (high - low) * rng.random())

    heavy = 1.0 if masculine else 0.0
    return {
        "age": between(18, 48),
        "face_width": between(35.5, 43),
        "jaw": between(0.66, 0.84) + 0.06 * heavy,
        "chin_width": between(0.22, 0.42) + 0.06 * heavy,
        "chin": between(59, 70),
        "temple": between(0.86, 0.98),
        "hairline": between(-41, -27),
        "eye_distance": between(15.2, 19.6),
        "eye_width": between(7.4, 10.6),
        "eye_height": between(2.9, 5.4),
        "eye_tilt": between(-0.16, 0.24),
        "eye_peak": between(-0.45, 0.35),
        "lid_crease": max(0.0, between(-1.6, 3.4)),
        "lashes": between(0.0, 0.45) if masculine else between(0.25, 1.0),
        "iris": between(3.9, 5.2),
        "brow_height": between(8.5, 14.5),
        "brow_thickness": between(1.2, 3.2) + 0.9 * heavy,
        "brow_arch": between(-0.4, 3.2),
        "brow_tilt": between(-0.8, 1.9),
        "brow_length": between(8.5, 12.0),
        "nose_length": between(16.0, 25.5),
        "nose_width": between(6.0, 10.8),
        "nose_bridge": between(2.2, 4.6),
        "nose_height": between(10.0, 18.0),
        "mouth": between(36.0, 45.0),
        "mouth_width": between(10.8, 16.8),
        "upper_lip": between(1.3, 4.2) - 0.3 * heavy,
        "lower_lip": between(2.4, 5.6) - 0.3 * heavy,
        "lip_bow": between(0.0, 1.7),
        "mouth_tilt": between(-0.9, 2.0),
        "ear": between(0.8, 1.25),
        "ear_out": between(0.5, 5.5),
    }


def _gradient(palette: np.ndarray, position: float) -> np.ndarray:
    """The colour at 0 .. 1 of a palette."""
    steps = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(position, steps, palette[:, i]) for i in range(3)])


def _colours(rng: np.random.Generator, tone: float, masculine: bool) -> dict[str, Any]:
    skin = _gradient(SKIN, tone) + rng.normal(0, 4) + np.array([0, 1, -1]) * rng.normal(0, 3)
    pale = tone < 0.45
    iris = IRIS[rng.integers(0, 7 if pale else 2)]
    freckled = pale and rng.random() < 0.3
    count = int(rng.integers(14, 40)) if freckled else 0
    freckles = np.stack([rng.normal(0, 14, count), rng.normal(16, 7, count), rng.uniform(0.35, 0.75, count)], 1)
    moles = int(rng.choice(4, p=[0.45, 0.3, 0.15, 0.1]))
    marks = np.stack([rng.uniform(-28, 28, moles), rng.uniform(-26, 52, moles), rng.uniform(0.7, 1.5, moles)], 1)
    return {
        "skin": tuple(np.clip(skin, 30, 255).tolist()),
        "blush": float(rng.uniform(0.1, 0.6) + (0 if masculine else 0.35)),
        "iris_colour": tuple(iris.tolist()),
        "marks": tuple(map(tuple, marks.tolist())),
        "freckles": tuple(map(tuple, freckles.tolist())),
    }


def _hair(rng: np.random.Generator, tone: float, masculine: bool) -> dict[str, Any]:
    lightest = len(HAIR) - 1 if tone < 0.4 else 3
    colour = _gradient(HAIR, rng.uniform(0, lightest) / (len(HAIR) - 1))
    #         buzz  short quiff bob   long  curly bald  tied
    chance = (
        [0.16, 0.34, 0.2, 0.02, 0.03, 0.1, 0.14, 0.01] if masculine else [0.02, 0.12, 0.03, 0.24, 0.3, 0.14, 0, 0.15]
    )
    cut = str(rng.choice(HAIR_CUTS, p=chance))
    fringe = str(rng.choice(FRINGES, p=[0.34, 0.26, 0.4])) if cut in ("short", "bob", "long") else "none"
    beards = [0.46, 0.2, 0.1, 0.1, 0.14] if masculine else [1.0, 0, 0, 0, 0]
    return {
        "hair": tuple(colour.tolist()),
        "cut": cut,
        "fringe": fringe,
        "parting": float(rng.uniform(-0.8, 0.8)),
        "hair_volume": float(rng.uniform(0.7, 1.35)),
        "hair_wave": float(rng.uniform(0, 1)),
        "recession": float(rng.uniform(0, 1) if masculine else rng.uniform(0, 0.25)),
        "greying": float(rng.uniform(0.6, 1.5)),
        "beard": str(rng.choice(BEARDS, p=beards)),
    }
