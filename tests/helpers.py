"""Small data sets in InsightFace's files, for tests of what reads them."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from components.formats import recordio, verification_bin

ROOT = Path(__file__).resolve().parent.parent


def jpeg(seed: int, size: int = 112) -> bytes:
    """A JPEG of smooth random colours, another one for every seed."""
    field = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(field).resize((size, size), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """EXIF's TIFF structure with an orientation alone, in either byte order; its type is SHORT (3) or LONG (4)."""
    value = struct.pack(f"{order}HH" if kind == 3 else f"{order}I", *([orientation, 0][: 2 if kind == 3 else 1]))
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, 1)
    return head + struct.pack(f"{order}HHI", 0x0112, kind, 1) + value + bytes(4)


def with_exif(encoded: bytes, tiff: bytes, place: int | None = None, kind: bytes = b"eXIf") -> bytes:
    """A JPEG or PNG with EXIF: behind its start, or elsewhere."""
    if encoded.startswith(b"\xff\xd8"):
        part = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
        place = 2 if place is None else place
    else:
        part = struct.pack(">I", len(tiff)) + kind + tiff + struct.pack(">I", zlib.crc32(kind + tiff))
        place = 33 if place is None else place
    return encoded[:place] + part + encoded[place:]


def write_records(folder: Path, labels: list[int], identities: int | None = None) -> None:
    """`train.rec`, `train.idx` and `property`: image i (key i + 1) is jpeg(i) with labels[i]."""
    folder.mkdir(parents=True, exist_ok=True)
    announced = len(set(labels)) if identities is None else identities
    first = len(labels) + 1
    keys, offsets = [], []

    def append(writer: recordio.RecordWriter, key: int, record: recordio.Record) -> None:
        keys.append(key)
        offsets.append(writer.append(recordio.pack(record)))

    with recordio.RecordWriter(folder / "train.rec") as writer:
        append(writer, 0, recordio.Record((float(first), float(first + announced)), 0, 0, b""))
        for i, label in enumerate(labels):
            append(writer, i + 1, recordio.Record((float(label),), i + 1, 0, jpeg(i)))
        for identity in range(announced):
            own = [i + 1 for i, label in enumerate(labels) if label == identity]
            begin, end = (min(own), max(own) + 1) if own else (1, 1)
            append(writer, first + identity, recordio.Record((begin, end), first + identity, 0, b""))
    recordio.write_index(str(folder / "train.idx"), keys, offsets)
    (folder / "property").write_text(f"{announced},112,112")


def write_pairs(folder: Path, name: str, pairs: int) -> None:
    """`<name>.bin`: even pairs show one image twice, odd pairs two."""
    folder.mkdir(parents=True, exist_ok=True)
    images: list[bytes] = []
    for i in range(pairs):
        images += [jpeg(1000 + i), jpeg(1000 + i if i % 2 == 0 else 5000 + i)]
    verification_bin.write(str(folder / f"{name}.bin"), images, [i % 2 == 0 for i in range(pairs)])


def write_world(folder: Path) -> None:
    """What a command line can name: `data`, two identities and the set lfw, and the image `face.jpg`."""
    write_records(folder / "data", [0, 0, 1])
    write_pairs(folder / "data", "lfw", 10)
    (folder / "face.jpg").write_bytes(jpeg(1))
