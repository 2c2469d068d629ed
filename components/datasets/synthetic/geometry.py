"""The head as a solid: cross-sections at every height, rotated, projected and aligned as real face crops are.

Units are pixels of InsightFace's 112 x 112 crop. The origin is midway between the eyes, on the axis of the neck; x
points to the viewer's right, y down, z towards the viewer. A pose moves every feature by its own depth, so that
turning a head is no affine warp of the image.
"""

import dataclasses

import numpy as np

SIZE = 112
# InsightFace's 5-point template in a 112 x 112 crop: the eyes, the tip of the nose, the corners of the mouth [5, 2].
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_CAMERA_DISTANCE = 420.0  # about 3.8 crop widths: a portrait lens
_AZIMUTHS = np.linspace(-np.pi, np.pi, 49)
_BLEND = np.linspace(0, 1, 7)[:-1]
_CATMULL_ROM = (
    0.5
    * np.stack([_BLEND**3, _BLEND**2, _BLEND, np.ones_like(_BLEND)], 1)
    @ np.array([[-1.0, 3, -3, 1], [2, -5, 4, -1], [-1, 0, 1, 0], [0, 2, 0, 0]])
)


def curve(points: np.ndarray) -> np.ndarray:
    """A smooth line through all points (Catmull-Rom).

    Args:
      points: float [N, D], N >= 2.

    Returns:
      float [6 (N - 1) + 1, D].
    """
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    windows = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], 1)
    dense = np.einsum("bk,nkd->nbd", _CATMULL_ROM, windows).reshape(-1, points.shape[1])
    return np.concatenate([dense, points[-1:]])


@dataclasses.dataclass(frozen=True)
class Head:
    """Half-width and front depth at every height, from the crown down to the chin.

    Attributes:
      levels: float [L], y of each cross-section, ascending.
      widths: float [L], half-width there.
      fronts: float [L], depth of the front there.
      middles: float [L], depth of the cross-section's widest place: 0 at the skull, moving forward along the jaw.
      back: depth of the back of the skull.
    """

    levels: np.ndarray
    widths: np.ndarray
    fronts: np.ndarray
    middles: np.ndarray
    back: float

    @classmethod
    def from_outline(cls, outline: np.ndarray, fronts: np.ndarray, back: float) -> "Head":
        """Builds a head from a few points of half its outline.

        Args:
          outline: float [K, 2], (half-width, y) from the crown down, y ascending.
          fronts: float [M, 2], (depth, y) of the profile without the nose.
          back: depth of the back of the skull.

        Returns:
          The head, with 33 levels.
        """
        smooth, depth = curve(outline), curve(fronts)
        steps = np.linspace(0, np.pi, 33)
        levels = outline[0, 1] + (outline[-1, 1] - outline[0, 1]) * (1 - np.cos(steps)) / 2  # dense at crown and chin
        widths = np.maximum(np.interp(levels, np.maximum.accumulate(smooth[:, 1]), smooth[:, 0]), 0)
        jaw = np.interp(levels, [18.0, outline[-1, 1]], [0.0, 1.0])
        middles = 0.8 * fronts[-1, 0] * jaw**1.6
        return cls(levels, widths, np.interp(levels, depth[:, 1], depth[:, 0]), middles, back)

    def width_at(self, y: np.ndarray | float) -> np.ndarray:
        """Half-width at a height, the shape of y."""
        return np.interp(y, self.levels, self.widths)

    def at(self, azimuth: np.ndarray, y: np.ndarray, expand: np.ndarray | float = 0.0) -> np.ndarray:
        """Points on the surface.

        Args:
          azimuth: radians [N]; 0 is the front, positive to the viewer's right.
          y: heights [N].
          expand: how far off the surface, pixels.

        Returns:
          float [N, 3].
        """
        width, cosine = self.width_at(y) + expand, np.cos(azimuth)
        middle = np.interp(y, self.levels, self.middles)
        depth = np.where(cosine >= 0, np.interp(y, self.levels, self.fronts) - middle, self.back) + expand
        return np.stack([width * np.sin(azimuth), np.broadcast_to(y, width.shape), middle + depth * cosine], -1)

    def lift(self, points: np.ndarray, above: np.ndarray | float = 0.0) -> np.ndarray:
        """Puts points drawn on the frontal view onto the surface.

        Args:
          points: float [N, 2].
          above: how far in front of the surface, pixels.

        Returns:
          float [N, 3].
        """
        width = np.maximum(self.width_at(points[:, 1]), 1.0)
        side = np.clip(points[:, 0] / width, -0.98, 0.98)
        middle = np.interp(points[:, 1], self.levels, self.middles)
        depth = middle + (np.interp(points[:, 1], self.levels, self.fronts) - middle) * np.sqrt(1 - side * side)
        return np.concatenate([points, (depth + above)[:, None]], 1)

    def rings(
        self, levels: np.ndarray, widths: np.ndarray, expand: np.ndarray, limit: np.ndarray | None = None
    ) -> np.ndarray:
        """Whole cross-sections.

        Args:
          levels: heights [L].
          widths: half-widths [L].
          expand: pixels off the surface [L].
          limit: keep to azimuths of -limit .. limit, radians [L]; None for all around.

        Returns:
          float [L, 49, 3].
        """
        azimuth = np.broadcast_to(_AZIMUTHS, (len(levels), len(_AZIMUTHS)))
        if limit is not None:
            azimuth = azimuth * (limit[:, None] / np.pi)
        cosine = np.cos(azimuth)
        middles = np.interp(levels, self.levels, self.middles)
        fronts = np.interp(levels, self.levels, self.fronts) - middles + expand
        backs = self.back * np.clip((70 - levels) / 60, 0.05, 1) * widths / max(widths.max(), 1.0) + expand
        depth = middles[:, None] + np.where(cosine >= 0, fronts[:, None], backs[:, None]) * cosine
        height = np.broadcast_to(levels[:, None], azimuth.shape)
        return np.stack([(widths + expand)[:, None] * np.sin(azimuth), height, depth], -1)


@dataclasses.dataclass(frozen=True)
class Pose:
    """From head to crop: rotation, perspective, and the similarity that aligns five landmarks with the template.

    Attributes:
      rotation: float [3, 3].
      scale: complex factor of the similarity (turn and size).
      shift: complex offset of the similarity.
    """

    rotation: np.ndarray
    scale: complex = 1.0
    shift: complex = 0.0

    @classmethod
    def aligned(cls, angles: tuple[float, float, float], landmarks: np.ndarray, jitter: np.ndarray) -> "Pose":
        """The pose whose landmarks lie as an alignment puts them, give or take the detector's error.

        Args:
          angles: yaw, pitch, roll in radians. Roll is what alignment left over.
          landmarks: float [5, 3] on the head, in the template's order.
          jitter: float [5, 2], error of the detected landmarks, pixels.

        Returns:
          The pose.
        """
        (yaw, pitch, roll), (sine, cosine) = angles, (np.sin, np.cos)
        turn = np.array([[cosine(yaw), 0, sine(yaw)], [0, 1, 0], [-sine(yaw), 0, cosine(yaw)]])
        nod = np.array([[1, 0, 0], [0, cosine(pitch), -sine(pitch)], [0, sine(pitch), cosine(pitch)]])
        pose = cls(nod @ turn)
        found = pose._flat(landmarks)
        target = (TEMPLATE + jitter) @ np.array([1, 1j])
        centred, aim = found - found.mean(), target - target.mean()
        scale = np.vdot(centred, aim) / np.vdot(centred, centred).real * np.exp(1j * roll)
        return cls(pose.rotation, scale, target.mean() - scale * found.mean())

    def _flat(self, points: np.ndarray) -> np.ndarray:
        turned = points @ self.rotation.T
        near = _CAMERA_DISTANCE / (_CAMERA_DISTANCE - turned[..., 2])
        return (turned[..., 0] + 1j * turned[..., 1]) * near

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points on the head to pixels of the crop: float [..., 3] -> [..., 2]."""
        placed = self.scale * self._flat(points) + self.shift
        return np.stack([placed.real, placed.imag], -1)

    def silhouette(self, rings: np.ndarray) -> np.ndarray:
        """The outline of a stack of cross-sections.

        Args:
          rings: float [L, A, 3], from the top down.

        Returns:
          float [2 L, 2], pixels: down the right side and up the left one.
        """
        placed = self.project(rings)
        # Along the head's own horizontal, so that a tilted head keeps its outline.
        across = (placed @ np.array([self.scale.real, self.scale.imag])) / abs(self.scale)
        rows = np.arange(len(rings))
        return np.concatenate([placed[rows, across.argmax(1)], placed[rows, across.argmin(1)][::-1]])
