"""How a picture was taken: everything about an image that is not the identity."""

import dataclasses
from typing import Any

import numpy as np

GLASSES = ("none", "round", "square", "sun")
FRAMES = ((25, 25, 28), (90, 55, 35), (120, 30, 40), (150, 150, 155))  # black, horn, red, steel
COVERS = ("none", "hand", "phone", "scarf")


@dataclasses.dataclass(frozen=True)
class Condition:
    """One picture's circumstances.

    Attributes:
      yaw: degrees, positive towards the viewer's right.
      pitch: degrees, positive looks up.
      roll: degrees that alignment left over.
      jitter: error of the five detected landmarks, pixels, as rows (x, y).
      smile: -1 .. 1.
      mouth_open: 0 .. 1.
      eyes_open: factor of the eyes' opening.
      brow_raise: pixels.
      gaze: where the eyes look, (x, y) in -1 .. 1.
      years: added to the identity's age.
      light: direction towards the light, (x, y, z), unit length.
      ambient: share of the light that comes from everywhere, 0 .. 1.
      tint: colour of the light, factors (r, g, b).
      glasses: one of GLASSES.
      glasses_colour: RGB 0..255.
      cap: wears a cap.
      cover: one of COVERS, in front of a part of the face.
      cover_side: -1 or 1.
      clothes: RGB 0..255, of clothes, cap and scarf.
      hair_change: seed of how the hair lies today.
      other_cut: another hair style than the usual one (years lie between the pictures), or an empty string.
      background: colours of a coarse grid [G, G, 3] as rows, RGB 0..255.
      gain: exposure and white balance, factors (r, g, b).
      gamma: exponent of the tone curve.
      saturation: factor.
      blur: radius of the blur, pixels.
      noise: standard deviation of the sensor's noise, levels of 0..255.
      noise_seed: seed of the noise.
      quality: JPEG quality.
    """

    yaw: float
    pitch: float
    roll: float
    jitter: tuple[tuple[float, float], ...]
    smile: float
    mouth_open: float
    eyes_open: float
    brow_raise: float
    gaze: tuple[float, float]
    years: float
    light: tuple[float, float, float]
    ambient: float
    tint: tuple[float, float, float]
    glasses: str
    glasses_colour: tuple[int, int, int]
    cap: bool
    cover: str
    cover_side: int
    clothes: tuple[int, int, int]
    hair_change: int
    other_cut: str
    background: tuple[tuple[int, int, int], ...]
    gain: tuple[float, float, float]
    gamma: float
    saturation: float
    blur: float
    noise: float
    noise_seed: int
    quality: int

    @classmethod
    def draw(cls, rng: np.random.Generator, variation: "Variation") -> "Condition":
        """One picture.

        Args:
          rng: source of all that is random about it.
          variation: how widely the pictures of this set vary.

        Returns:
          The condition.
        """
        return cls(
            **_pose(rng, variation), **_expression(rng, variation), **_scene(rng, variation), **_camera(rng, variation)
        )


@dataclasses.dataclass(frozen=True)
class Variation:
    """How widely the pictures of one set vary.

    Attributes:
      yaw: (least, most) turn of the head, degrees; the side is drawn.
      pitch: standard deviation, degrees.
      years: (least, most) added to the age.
      light: strength of light and colour changes, 0 .. 1.
      covered: chance that a hand or a thing covers a part of the face.
      restyle: chance of another hair style.
    """

    yaw: tuple[float, float] = (0.0, 32.0)
    pitch: float = 7.0
    years: tuple[float, float] = (-3.0, 3.0)
    light: float = 1.0
    covered: float = 0.1
    restyle: float = 0.1


def _pose(rng: np.random.Generator, variation: Variation) -> dict[str, Any]:
    low, high = variation.yaw
    side = -1 if rng.random() < 0.5 else 1
    return {
        "yaw": float(side * (low + (high - low) * rng.beta(1.2, 1.5))),
        "pitch": float(np.clip(rng.normal(0, variation.pitch), -18, 18)),
        "roll": float(rng.normal(0, 2.0)),
        "jitter": tuple(map(tuple, rng.normal(0, 0.9, (5, 2)).tolist())),
    }


def _expression(rng: np.random.Generator, variation: Variation) -> dict[str, Any]:
    laugh = rng.random() < 0.3
    return {
        "smile": float(rng.uniform(0.4, 1.0) if laugh else rng.uniform(-0.25, 0.7)),
        "mouth_open": float(rng.uniform(0.15, 0.8) if rng.random() < 0.35 else 0.0),
        "eyes_open": float(rng.uniform(0.72, 1.15)),
        "brow_raise": float(rng.normal(0, 1.0)),
        "gaze": tuple(np.clip(rng.normal(0, [0.4, 0.22]), -1, 1).tolist()),
        "years": float(rng.uniform(*variation.years)),
    }


def _scene(rng: np.random.Generator, variation: Variation) -> dict[str, Any]:
    azimuth, height = rng.uniform(-1.25, 1.25) * variation.light, rng.uniform(-0.15, 0.9)
    light = np.array([np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height)])
    warmth, green = rng.normal(0, 0.08 * variation.light), rng.normal(0, 0.008 * variation.light)
    base = rng.uniform(60, 225) + rng.normal(0, 24, 3)
    grid = np.clip(base + rng.normal(0, 26, (16, 1)) + rng.normal(0, 9, (16, 3)), 8, 248).astype(int)
    clothes = rng.uniform(25, 235, 3)
    clothes = clothes.mean() + (clothes - clothes.mean()) * 0.6
    return {
        "light": tuple(light.tolist()),
        "ambient": float(rng.uniform(0.38, 0.8)),
        "tint": (1 + warmth, 1 + green, 1 - warmth),
        "glasses": str(rng.choice(GLASSES, p=[0.78, 0.09, 0.09, 0.04])),
        "glasses_colour": FRAMES[rng.integers(len(FRAMES))],
        "cap": bool(rng.random() < 0.06),
        "cover": str(rng.choice(COVERS[1:])) if rng.random() < variation.covered else "none",
        "cover_side": -1 if rng.random() < 0.5 else 1,
        "clothes": tuple(int(x) for x in clothes),
        "hair_change": int(rng.integers(2**31)),
        "other_cut": str(rng.choice(["short", "tied", "bob", "quiff"])) if rng.random() < variation.restyle else "",
        "background": tuple(map(tuple, grid.tolist())),
    }


def _camera(rng: np.random.Generator, variation: Variation) -> dict[str, Any]:
    strength = variation.light
    exposure = np.exp(rng.normal(0, 0.17 * strength))
    balance = np.exp(rng.normal(0, 0.018 * strength, 3))
    return {
        "gain": tuple((exposure * balance).tolist()),
        "gamma": float(np.exp(rng.normal(0, 0.16 * strength))),
        "saturation": float(np.clip(rng.normal(0.95, 0.2 * strength), 0.0, 1.4)) if rng.random() > 0.06 else 0.0,
        "blur": float(min(1.3, rng.exponential(0.3))) if rng.random() < 0.6 else 0.0,
        "noise": float(min(6.0, rng.exponential(1.3))),
        "noise_seed": int(rng.integers(2**31)),
        "quality": int(rng.integers(75, 96)),
    }
