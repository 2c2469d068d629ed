"""An identity under a condition: the head's solid, the colours and the landmarks that both decide together."""

import dataclasses

import numpy as np

from components.datasets.synthetic.condition import Condition
from components.datasets.synthetic.geometry import Head
from components.datasets.synthetic.identity import Identity

# Depth of the front of the head without the nose, and y, from the crown to under the nose; depth of the back.
_PROFILE = [[6.0, -76.0], [34, -64], [45, -42], [47, -20], [43.5, -2], [45, 12], [46, 30]]
_BACK = 46.0


def ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, smooth between."""
    position = min(1.0, max(0.0, (value - low) / (high - low)))
    return position * position * (3 - 2 * position)


@dataclasses.dataclass(frozen=True)
class Face:
    """An identity under a condition, with what both decide together.

    Attributes:
      who: the identity.
      how: the condition.
      head: the solid, with the jaw as far open as the mouth is.
      skin: RGB 0..255.
      hair: RGB 0..255, as grey as the age makes it.
      age: years.
    """

    who: Identity
    how: Condition
    head: Head
    skin: np.ndarray
    hair: np.ndarray
    age: float

    @property
    def worn(self) -> float:
        """How much age shows, 0 .. 1."""
        return ramp(self.age, 32, 75)

    def dark(self, factor: float) -> np.ndarray:
        """The skin's colour in a fold: darker and warmer."""
        return self.skin * np.array([factor**0.8, factor, factor])

    def lips(self) -> np.ndarray:
        """The lips' colour."""
        red = np.array([190.0, 80, 84]) * (0.45 + 0.55 * self.skin.mean() / 210)
        strength = (0.3 + 0.45 * self.who.blush) * (1 - 0.35 * self.worn)
        return self.skin * (1 - strength) + red * strength - 12


def shape(who: Identity, how: Condition) -> Face:
    """Builds the head and mixes the colours.

    Args:
      who: the identity.
      how: the condition.

    Returns:
      The face, ready to paint.
    """
    age = min(85.0, max(14.0, who.age + how.years))
    full = 1 + 0.035 * ramp(age, 25, 55) - 0.05 * ramp(age, 58, 85) + 0.02 * ramp(-age, -24, -14)
    wide = who.face_width * full
    chin = who.chin + 5.0 * how.mouth_open
    sag = 0.05 * ramp(age, 40, 80)
    outline = np.array(
        [
            [0.0, -76.0],
            [wide * 0.48, -71.0],
            [wide * 0.78, -56.0],
            [wide * (who.temple - 0.02), -28.0],
            [wide * (0.5 + who.temple / 2), -6.0],
            [wide, 9.0],
            [wide * (0.4 + who.jaw * 0.6), 25.0],
            [wide * (who.jaw + sag), chin - 24],
            [wide * (0.45 * who.chin_width + 0.55 * who.jaw + sag), chin - 11.5],
            [wide * who.chin_width, chin - 4.2],
            [wide * who.chin_width * 0.5, chin - 0.9],
            [0.0, chin],
        ]
    )
    grey = ramp(age * who.greying, 44, 80)
    hair = np.array(who.hair) * (1 - grey) + np.array([186.0, 186, 190]) * grey
    profile = np.array(_PROFILE + [[46, who.mouth], [44, chin - 8], [34, chin]])
    skin = np.array(who.skin) * (1 - 0.06 * ramp(age, 40, 80))
    return Face(who, how, Head.from_outline(outline, profile, _BACK), skin, hair, age)


def landmarks(face: Face) -> np.ndarray:
    """The five points that alignment uses, on the head: eyes, tip of the nose, corners of the mouth [5, 3]."""
    who = face.who
    corners = mouth_corner(face)
    flat = np.array(
        [[-who.eye_distance, 0], [who.eye_distance, 0], [0, who.nose_length], corners * [-1, 1], corners], np.float64
    )
    return face.head.lift(flat, np.array([-2.0, -2, who.nose_height, 0, 0]))


def mouth_corner(face: Face) -> np.ndarray:
    """The right corner of the mouth on the frontal view [2]."""
    who, how = face.who, face.how
    lift = who.mouth_tilt + 3.4 * how.smile
    return np.array([who.mouth_width * (1 + 0.16 * how.smile - 0.05 * how.mouth_open), who.mouth - lift * 0.75])
