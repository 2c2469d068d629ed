"""Where a face is painted: polygons at twice the crop's size, soft shadows on a layer of their own."""

import numpy as np
from PIL import Image, ImageDraw

from components.datasets.synthetic.geometry import SIZE, Pose

SCALE = 2  # 224 x 224, reduced to 112 x 112: 4 samples a pixel smooth the edges

Colour = tuple[float, ...] | np.ndarray


def ink(colour: Colour, alpha: float = 1.0) -> tuple[int, int, int, int]:
    """RGB 0..255 (clipped) and an opacity of 0 .. 1 as Pillow wants them."""
    red, green, blue = (min(255, max(0, int(x + 0.5))) for x in colour)
    return red, green, blue, int(255 * min(1.0, max(0.0, alpha)))


class Canvas:
    """The painting of one face.

    Args:
      pose: from the head to the crop.
      background: RGB image of any size, stretched over the canvas.

    Attributes:
      image: RGB, 224 x 224.
      soft: L, 112 x 112; 128 leaves the image as it is, 64 halves it.
      subject: L, 224 x 224; where the person is, and so the lamp's light.
    """

    def __init__(self, pose: Pose, background: Image.Image) -> None:
        self.pose = pose
        self.image = background.resize((SIZE * SCALE, SIZE * SCALE), Image.Resampling.BILINEAR)
        self.soft = Image.new("L", (SIZE, SIZE), 128)
        self.subject = Image.new("L", self.image.size, 0)
        self._subject = ImageDraw.Draw(self.subject)
        self._draw = ImageDraw.Draw(self.image, "RGBA")
        self._soft = ImageDraw.Draw(self.soft)

    def flat(self, points: np.ndarray, scale: int = SCALE) -> list[float]:
        """Points on the head [N, 3], or pixels of the crop [N, 2], as Pillow's list of canvas coordinates."""
        placed = self.pose.project(points) if points.shape[-1] == 3 else points
        return (placed * scale + (scale - 1) / 2).ravel().tolist()

    def fill(self, points: np.ndarray, colour: Colour, alpha: float = 1.0) -> None:
        """A filled polygon."""
        self._draw.polygon(self.flat(points), fill=ink(colour, alpha))

    def body(self, points: np.ndarray, colour: Colour) -> None:
        """A filled polygon that is part of the person's outline."""
        self.fill(points, colour)
        self._subject.polygon(self.flat(points), fill=255)

    def line(self, points: np.ndarray, colour: Colour, width: float, alpha: float = 1.0) -> None:
        """A line; `width` in pixels of the crop."""
        width = max(1, round(width * SCALE * abs(self.pose.scale)))
        self._draw.line(self.flat(points), fill=ink(colour, alpha), width=width, joint="curve")

    def dot(self, point: np.ndarray, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """A disc around a point [3] or [2]; `radius` in pixels of the crop."""
        x, y = self.flat(point[None])
        radius *= SCALE
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink(colour, alpha))

    def shade(self, points: np.ndarray, factor: float) -> None:
        """A soft shadow (factor < 1) or light (> 1) inside a polygon; later ones replace earlier ones."""
        self._soft.polygon(self.flat(points, 1), fill=min(255, max(0, int(128 * factor))))

    def crease(self, points: np.ndarray, factor: float, width: int = 1) -> None:
        """A soft line."""
        self._soft.line(self.flat(points, 1), fill=min(255, max(0, int(128 * factor))), width=width, joint="curve")

    def mask(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        """An empty mask of the canvas's size and what draws on it."""
        mask = Image.new("L", self.image.size, 0)
        return mask, ImageDraw.Draw(mask)

    def layer(self, colour: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        """A canvas full of one colour and what draws on it, for `paste`."""
        layer = Image.new("RGB", self.image.size, ink(colour)[:3])
        return layer, ImageDraw.Draw(layer, "RGBA")

    def paste(self, layer: Image.Image, mask: Image.Image) -> None:
        """Puts a layer onto the painting, as a part of the person, where the mask is."""
        self.image.paste(layer, (0, 0), mask)
        self.subject.paste(255, (0, 0), mask)
