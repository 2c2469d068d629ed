"""A contact sheet: what the drawn faces look like, one row an identity."""

import io
import os

import numpy as np
from PIL import Image

from components.synthetic.dataset import TRAIN_VARIATION, SyntheticSpec, draw_images
from components.synthetic.geometry import SIZE

_GAP = 4  # pixels between pictures


def write_sheet(path: str | os.PathLike[str], spec: SyntheticSpec, *, identities: int = 8, images: int = 10) -> None:
    """Draws the first training identities and writes them as one PNG.

    Args:
      path: the PNG, replaced if it exists.
      spec: gives the seed; the pictures are those of `write_dataset`, if it draws at least as many of each.
      identities: rows.
      images: columns.
    """
    step = SIZE + _GAP
    sheet = np.full((identities * step + _GAP, images * step + _GAP, 3), 255, np.uint8)
    for row in range(identities):
        for column, data in enumerate(draw_images(spec, 0, row, [TRAIN_VARIATION] * images)):
            y, x = _GAP + row * step, _GAP + column * step
            sheet[y : y + SIZE, x : x + SIZE] = np.asarray(Image.open(io.BytesIO(data)))
    Image.fromarray(sheet).save(path, "PNG", optimize=True)
