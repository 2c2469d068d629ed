"""What the drawn faces look like: a contact sheet, one row an identity, and single images to try a model on."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from components.datasets.synthetic.dataset import PAIR_VARIATIONS, TRAIN_VARIATION, SyntheticSpec, draw_images
from components.datasets.synthetic.geometry import SIZE

_GAP = 4  # pixels between pictures
_SAMPLES = 5  # the stream of people who are in no data set: 0 is training, 1 .. 4 are the verification sets


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


def write_samples(folder: str | os.PathLike[str], spec: SyntheticSpec, *, identities: int = 2, images: int = 2) -> None:
    """Draws people who are in none of the spec's sets, as single JPEG files `person1-a.jpg`, `person1-b.jpg` ...

    Args:
      folder: made if need be; files of these names are replaced.
      spec: gives the seed.
      identities: how many people.
      images: how many images of each, 1 .. 26.
    """
    os.makedirs(folder, exist_ok=True)
    for person in range(identities):
        variations = [PAIR_VARIATIONS["lfw"][0]] * images
        for letter, data in zip(
            "abcdefghijklmnopqrstuvwxyz", draw_images(spec, _SAMPLES, person, variations), strict=False
        ):
            Path(folder, f"person{person + 1}-{letter}.jpg").write_bytes(data)
