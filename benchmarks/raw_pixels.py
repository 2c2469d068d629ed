"""What a model must beat: 10-fold verification by the distance of raw pixels, on every set of some folders.

`python -m benchmarks.raw_pixels NAME=FOLDER ...` writes benchmarks/results/raw_pixels.csv. Pixels are standardised per
image (mean 0, length 1); their squared distance takes the place of the embeddings'.
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from arcface_common.protocol import insightface
from benchmarks import table
from components.formats import verification_bin


def _pixels(image: bytes) -> np.ndarray:
    """float32 [112 * 112 * 3], standardised."""
    values = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"), np.float32)
    values -= values.mean()
    return (values / np.linalg.norm(values)).ravel()


def evaluate(path: Path) -> insightface.VerificationResult:
    """The protocol on pixels; pair by pair, since 12,000 images of 37,632 values are 1.8 GB."""
    pairs = verification_bin.read(path)
    distances = [
        float(np.sum(np.square(_pixels(first) - _pixels(second))))
        for first, second in zip(pairs.images[0::2], pairs.images[1::2], strict=True)
    ]
    return insightface.evaluate(np.array(distances), pairs.is_same)


def measure(folders: list[str]) -> Iterator[tuple[str, str, str]]:
    """Figure, value and unit of each set."""
    for folder in folders:
        name, _, path = folder.partition("=")
        for file in sorted(Path(path).glob("*.bin")):
            result = evaluate(file)
            figure = f"accuracy of raw pixels, {name}, {file.stem}, {result.pairs} pairs"
            yield figure, f"{result.accuracy:.4f}", f"+- {result.accuracy_std:.4f}"


if __name__ == "__main__":
    table.write("raw_pixels", "python -m benchmarks.raw_pixels NAME=FOLDER ...", measure(sys.argv[1:]))
