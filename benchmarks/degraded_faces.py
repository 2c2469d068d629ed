"""A data set's faces as a bad camera gives them: few pixels, heavy JPEG; training set and verification sets alike.

`python -m benchmarks.degraded_faces FOLDER OUT` reads `train.rec`, `train.idx` and each `.bin` of FOLDER. It writes
the same to OUT, a new folder, with the same identities and pairs. How bad an image gets is drawn by the seed and the
image's bytes: the same image is the same wherever it occurs.
"""

import argparse
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from arcface_common.aside import folder_aside
from components.formats import recordio, verification_bin

SIDES = (28, 48)  # pixels of the 112 that are left, the first and the last included
QUALITIES = (15, 40)  # of the JPEG of so few pixels, as a camera stores it
STORED_QUALITY = 90  # of the image in its full size again, as an aligner stores it


def degraded(encoded: bytes, seed: int) -> bytes:
    """An image after few pixels and heavy JPEG: a JPEG of the size that it had."""
    random = np.random.default_rng([seed, zlib.crc32(encoded)])
    side, quality = (int(random.integers(low, high, endpoint=True)) for low, high in (SIDES, QUALITIES))
    with Image.open(io.BytesIO(encoded)) as image:
        size, pixels = image.size, image.convert("RGB")
    small = io.BytesIO()
    pixels.resize((side, side), Image.Resampling.BOX).save(small, "JPEG", quality=quality)
    stored = io.BytesIO()
    Image.open(small).resize(size, Image.Resampling.BICUBIC).save(stored, "JPEG", quality=STORED_QUALITY)
    return stored.getvalue()


def degrade(folder: Path, out: Path, seed: int = 1) -> None:
    """Writes a data set's degraded form.

    Raises:
      DataError: a file that is broken, or no header record, which says whose the images are.
      OSError: no such file, or `out` is there.
    """
    with folder_aside(out) as aside:
        with recordio.RecordReader(folder / recordio.REC_FILE) as reader:
            layout = recordio.read_layout(reader, recordio.read_index(str(folder / recordio.IDX_FILE)))
            offsets = dict(zip(layout.image_keys.tolist(), layout.image_offsets.tolist(), strict=True))

            def images(first: int, last: int) -> Iterator[bytes]:
                for key in range(first, last + 1):
                    yield degraded(reader.read(offsets[key], key=key).payload, seed)

            recordio.write_layout(aside, (images(first, last) for first, last in layout.identity_ranges.tolist()))
        for file in sorted(folder.glob("*.bin")):
            pairs = verification_bin.read(file)
            known = {image: degraded(image, seed) for image in dict.fromkeys(pairs.images)}
            verification_bin.write(aside / file.name, [known[image] for image in pairs.images], pairs.is_same)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    degrade(given.folder, given.out)
