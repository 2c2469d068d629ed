"""What the tests of conversion share."""

import io
from pathlib import Path

import pytest
from PIL import Image

from arcface_common.errors import DataError
from components.datasets.conversion import convert
from components.datasets.pair_list import PairList
from components.formats import recordio


def png(size: int = 112) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (200, 30, 60)).save(buffer, "PNG")
    return buffer.getvalue()


def records_in(folder: Path) -> tuple[recordio.DatasetLayout, list[recordio.Record]]:
    index = recordio.read_index(str(folder / "train.idx"))
    with recordio.RecordReader(folder / "train.rec") as reader:
        layout = recordio.read_layout(reader, index)
        entries = zip(layout.image_keys, layout.image_offsets, strict=True)
        return layout, [reader.read(offset, key=key) for key, offset in entries]


def refused(faces: Path, pattern: str, **more) -> None:
    out = faces.parent / "out"
    with pytest.raises(DataError, match=pattern) as caught:
        convert(faces, out, **more)
    assert "Received: " in str(caught.value)
    assert not out.exists()
    assert not [x for x in faces.parent.iterdir() if "partial" in x.name]


def listed(faces: Path, text: str) -> PairList:
    path = faces.parent / "pairs.txt"
    path.write_text(text)
    return PairList(str(path), "lfw")
