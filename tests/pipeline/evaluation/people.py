"""Folders of people, and an embedding that needs no network."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers import jpeg


class Pixels:
    """Standardised pixels of 8 x 8 as embedding: what a model must beat, and enough to tell `jpeg(i)` apart."""

    def __init__(self) -> None:
        self.embedded = 0

    def embed(self, images, bar=None):
        rows = []
        for data in images:
            image = Image.open(io.BytesIO(data)).convert("RGB").resize((8, 8), Image.Resampling.BOX)
            pixels = np.asarray(image, np.float32)
            rows.append([pixels - pixels.mean(), pixels[:, ::-1] - pixels.mean()])
        self.embedded += len(set(images))
        if bar is not None:
            bar.update(len(set(images)))
        raw, mirrored = np.array(rows).reshape(len(images), 2, -1).swapaxes(0, 1)
        return raw, mirrored


def darker(data: bytes) -> bytes:
    """The image at 7/8 of its brightness: another file of one person."""
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(data))
    image.point([x * 7 // 8 for x in range(256)] * 3).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, identities: dict[str, dict[str, bytes]]) -> Path:
    for identity, files in identities.items():
        (folder / identity).mkdir(parents=True)
        for name, data in files.items():
            (folder / identity / name).write_bytes(data)
    return folder


def person(seed: int, images: int = 2) -> dict[str, bytes]:
    """`images` different files of one face."""
    files = [jpeg(seed)]
    while len(files) < images:
        files.append(darker(files[-1]))
    return {f"{i}.{'png' if i else 'jpg'}": data for i, data in enumerate(files)}
