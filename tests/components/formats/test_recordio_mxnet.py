"""MXNet 1.9.1 itself as the judge: what it writes is read here, and what is written here is the same file."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from components.formats.recordio import MAGIC, Record, RecordReader, RecordWriter, pack, read_index, unpack, write_index

_WRITE = """
import json, sys, mxnet as mx
records = json.load(open("records.json"))
file = mx.recordio.MXIndexedRecordIO("mxnet.idx", "mxnet.rec", "w")
for key, labels, payload in records:
    header = mx.recordio.IRHeader(0, labels, key, 7)
    file.write_idx(key, mx.recordio.pack(header, bytes.fromhex(payload)))
file.close()
"""

_READ = """
import json, sys, mxnet as mx
file = mx.recordio.MXIndexedRecordIO("ours.idx", "ours.rec", "r")
found = []
for key in reversed(file.keys):
    header, payload = mx.recordio.unpack(file.read_idx(key))
    labels = header.label if header.flag == 0 else header.label.tolist()
    found.append([key, labels, payload.hex()])
file.reset()
while file.read() is not None:
    found.append("next")
json.dump(found, open("found.json", "w"))
"""


def run(python: Path | str, script: str, folder: Path) -> None:
    done = subprocess.run([str(python), "-c", script], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def records() -> list[tuple[int, float | list[float], bytes]]:
    """200 records in which the magic is frequent, with keys in no order."""
    rng = np.random.default_rng(0)
    pieces = [MAGIC, MAGIC, MAGIC[:2], b"\0", b"ab", b"\xff\xd8\xff\xe0", b""]
    made = []
    for key in rng.permutation(200).tolist():
        payload = b"".join(pieces[i] for i in rng.integers(len(pieces), size=rng.integers(0, 12)))
        labels = [float(np.float32(x)) for x in rng.normal(size=rng.integers(1, 4))]
        made.append((key, labels[0] if key % 2 else labels, payload))
    return made


def test_one_file_byte_for_byte(records: list, mxnet_python: Path, tmp_path: Path) -> None:
    rows = [(key, labels, payload.hex()) for key, labels, payload in records]
    (tmp_path / "records.json").write_text(json.dumps(rows))
    run(mxnet_python, _WRITE, tmp_path)
    offsets = []
    with RecordWriter(tmp_path / "ours.rec") as writer:
        for key, labels, payload in records:
            vector = isinstance(labels, list)
            record = Record(tuple(labels) if vector else (labels,), key, 7, payload, vector)
            offsets.append(writer.append(pack(record)))
    write_index(str(tmp_path / "ours.idx"), [x[0] for x in records], offsets)
    assert (tmp_path / "ours.rec").read_bytes() == (tmp_path / "mxnet.rec").read_bytes()
    assert (tmp_path / "ours.idx").read_bytes() == (tmp_path / "mxnet.idx").read_bytes()

    index = read_index(str(tmp_path / "mxnet.idx"))
    with RecordReader(tmp_path / "mxnet.rec") as reader:
        for (key, labels, payload), offset in zip(records, index.offsets, strict=True):
            record = unpack(reader.read_at(offset, key=key))
            assert (record.id, record.id2, record.payload) == (key, 7, payload)
            assert list(record.labels) == (labels if isinstance(labels, list) else [labels])

    run(mxnet_python, _READ, tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [tuple(x) for x in found[: len(rows)]] == rows[::-1]
    assert found[len(rows) :] == ["next"] * len(rows)
