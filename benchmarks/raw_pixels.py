"""What a model must beat: 10-fold verification by the distance of raw pixels, on every set of a folder.

`python -m benchmarks.raw_pixels FOLDER [NAME]` prints a table and writes benchmarks/results/raw_pixels.csv. Pixels are
standardised per image (mean 0, length 1); their squared distance takes the place of the embeddings.
"""

import argparse
import csv
import io
import os
import platform
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from components import verification_bin
from evaluator_custom import protocol

RESULTS = Path(__file__).parent / "results" / "raw_pixels.csv"


def _pixels(image: bytes) -> np.ndarray:
    """float32 [112 * 112 * 3], standardised."""
    values = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"), np.float32)
    values -= values.mean()
    return (values / np.linalg.norm(values)).ravel()


def accuracy(path: Path) -> protocol.VerificationResult:
    """The protocol on pixels in place of embeddings; 2N x 37,632 x 4 B are 1.8 GB for 6,000 pairs, so pair by pair."""
    pairs = verification_bin.read(path)
    distances = []
    for first, second in zip(pairs.images[0::2], pairs.images[1::2], strict=True):
        distances.append(float(np.sum(np.square(_pixels(first) - _pixels(second)))))
    return protocol.evaluate(np.array(distances), pairs.is_same)


def main() -> None:
    """Evaluates every `.bin` of the folder and rewrites that folder's rows of the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", nargs="?", help="how the CSV calls the folder; its last part by default")
    arguments = parser.parse_args()
    name = arguments.name or arguments.folder.name
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    old = list(csv.DictReader(RESULTS.open())) if RESULTS.exists() else []
    rows = [row for row in old if row["data"] != name]
    for path in sorted(arguments.folder.glob("*.bin")):
        result = accuracy(path)
        print(f"{name} {path.stem}: {result.accuracy:.4f} ± {result.accuracy_std:.4f}")
        rows.append(
            {
                "data": name,
                "set": path.stem,
                "pairs": result.pairs,
                "accuracy": f"{result.accuracy:.4f}",
                "std": f"{result.accuracy_std:.4f}",
                "command": f"python -m benchmarks.raw_pixels FOLDER {name}",
                "commit": commit.strip(),
                "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
            }
        )
    with RESULTS.open("w", newline="") as f:
        writer = csv.DictWriter(f, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
