"""Ingest at the size of published sets: records/s and memory, against the usual way and against `cp`, in one run.

Run it from the repository's root: `python -m benchmarks.ingest [RECORDS ...]` (100,000 and 1,000,000 by default: 18 GB
of disk). It prints what it writes to `benchmarks/results/ingest.csv`. Each side runs in a process of its own, after a
sync, from a warm page cache; the clock starts when its imports are done. Peak memory is the sum over its processes.
On a virtual machine, first touching memory that the host had taken back makes any side slower by up to three times.

- ours: the executor of RecordExampleGen as the pipeline calls it: plan, checks, shards, adding up. The driver has taken
  the digest of the input before, once for a file that doesn't change: a row of its own, and ratios with it.
- the usual way: mxnet's indexed reader in shuffled order, protobuf Examples, `tf.data.Dataset.from_generator`, one
  TFRecordWriter; on 100,000 records, since its rate doesn't depend on how many there are.
- `cp` of the `.rec` file.
"""

import argparse
import io
import itertools
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from PIL import Image

from benchmarks import table
from components.formats import recordio

ROOT = Path(__file__).resolve().parent.parent
USUAL_RECORDS = 100_000
IMAGES_PER_IDENTITY = 50
ROUNDS = 5  # of `cp` and ours, in turn: medians, and the median of the ratios of neighbours


def faces(count: int = 512) -> list[bytes]:
    """JPEGs of 112x112 pixels and about 6 KB, smooth with noise, as photographs are."""
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(count):
        smooth = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((112, 112))
        noisy = np.asarray(smooth, np.float32) + rng.normal(0, 9, (112, 112, 3))
        buffer = io.BytesIO()
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    return encoded


def make_data(folder: Path, records: int) -> None:
    """`train.rec` and `train.idx` with that many images, as InsightFace publishes them."""
    folder.mkdir()
    images = itertools.cycle(faces())
    identities = records // IMAGES_PER_IDENTITY
    recordio.write_layout(folder, (itertools.islice(images, IMAGES_PER_IDENTITY) for _ in range(identities)))


def ours(data: Path, out: Path) -> int:
    """RecordExampleGen's executor; returns the number of records."""
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    from components.content_digest import content_digest, memo_path
    from components.record_example_gen.executor import RecordExampleGenExecutor
    from pipeline.beam import beam_args

    work = out.with_name("work")
    begin = time.perf_counter()
    content_digest([str(data / name) for name in (recordio.REC_FILE, recordio.IDX_FILE)], memo_path(str(work)))
    print(json.dumps(time.perf_counter() - begin))
    examples = standard_artifacts.Examples()
    examples.uri = str(out)
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args()), tmp_dir=f"{out}-tmp")
    splits = [{"name": name, "pattern": name} for name in (recordio.REC_FILE, recordio.IDX_FILE)]
    properties = {
        "input_base": str(data),
        "input_config": json.dumps({"splits": splits}),
        "options": "{}",
        "work": str(work),
    }
    start_clock()
    RecordExampleGenExecutor(context).Do({}, {"examples": [examples]}, properties)
    stop_clock()
    shutil.rmtree(work)
    return examples.get_int_custom_property("records")


def usual(data: Path, out: Path) -> int:
    """What converters on the internet do."""
    import tensorflow as tf

    package = types.ModuleType("mxnet")  # its reader alone: mxnet.numpy doesn't import beside numpy 2
    package.__path__ = [str(next(ROOT.glob(".venv-mxnet/lib/python*/site-packages/mxnet")))]
    sys.modules["mxnet"] = package
    from mxnet import recordio as mx_recordio

    reader = mx_recordio.MXIndexedRecordIO(str(data / "train.idx"), str(data / "train.rec"), "r")
    header, _ = mx_recordio.unpack(reader.read_idx(0))
    keys = list(range(1, int(header.label[0])))
    random.Random(0).shuffle(keys)
    keys = keys[:USUAL_RECORDS]

    def examples() -> Iterator[bytes]:
        for key in keys:
            head, image = mx_recordio.unpack(reader.read_idx(key))
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(head.label)])),
                "key": tf.train.Feature(int64_list=tf.train.Int64List(value=[key])),
            }
            yield tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()

    start_clock()
    dataset = tf.data.Dataset.from_generator(examples, output_signature=tf.TensorSpec((), tf.string))
    out.mkdir()
    with tf.io.TFRecordWriter(str(out / "data.tfrecord")) as writer:
        for example in dataset:
            writer.write(example.numpy())
    stop_clock()
    return len(keys)


def copy(data: Path, out: Path) -> int:
    """`cp` of the records; returns how many there are."""
    out.mkdir()
    start_clock()
    subprocess.run(["cp", str(data / "train.rec"), str(out)], check=True)
    stop_clock()
    with (data / "train.idx").open() as index:
        return sum(1 for _ in index)


SIDES: dict[str, Callable[[Path, Path], int]] = {"ours": ours, "usual": usual, "copy": copy}
_clock = 0.0


def start_clock() -> None:
    """Imports are done."""
    global _clock
    _clock = time.perf_counter()


def stop_clock() -> None:
    """The work is done: from now on the clock shows what it took."""
    global _clock
    _clock = time.perf_counter() - _clock


class Run(NamedTuple):
    """One run of a side: records/s, the peak memory of its process tree in MB, and the seconds of the digest."""

    rate: float
    peak: float
    digest: float


def run_side(side: str, data: Path, out: Path) -> Run:
    """Runs a side in a process of its own."""
    subprocess.run(["sync"], check=True)
    command = [sys.executable, "-m", "benchmarks.ingest", "--side", side, str(data), str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), peak))
    watcher.start()
    stdout, stderr = process.communicate()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{side}: expected exit code 0. Received: {process.returncode}\n{stderr[-2000:]}")
    *digest, (records, seconds) = (json.loads(line) for line in stdout.splitlines())
    shutil.rmtree(out)
    return Run(records / seconds, peak[0] / 1e6, sum(digest))


def _watch(process: psutil.Process, peak: list[int]) -> None:
    while True:
        try:
            # A process that has just been started shares its parent's memory until it runs a program of its own.
            settled = time.time() - 0.1
            tree = [process, *(c for c in process.children(recursive=True) if c.create_time() < settled)]
            peak[0] = max(peak[0], sum(one.memory_info().rss for one in tree))
            if process.status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.Error:
            return
        time.sleep(0.05)


def measure(sizes: list[int]) -> list[tuple[str, str, str]]:
    """Figure, value and unit of each row."""
    rows = []
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as temporary:
        folder = Path(temporary)
        for records in sizes:
            data = folder / f"data-{records}"
            make_data(data, records)
            size = (data / "train.rec").stat().st_size
            rows.append((f"size of train.rec, {records:,} records", f"{size / 1e9:.2f}", "GB"))
            runs: dict[str, list[Run]] = {side: [] for side in SIDES}
            for side in ("usual", *("copy", "ours") * ROUNDS):
                runs[side].append(run_side(side, data, folder / "out"))
            rows += figures(f"{records:,} records", records, runs)
            shutil.rmtree(data)
    return rows


def figures(what: str, records: int, runs: dict[str, list[Run]]) -> list[tuple[str, str, str]]:
    """Rows of one size."""
    rows = []
    for side, own in runs.items():
        rows.append((f"{side}, {what}", f"{statistics.median(run.rate for run in own):.0f}", "records/s"))
        rows.append((f"{side}, {what}, peak memory", f"{max(run.peak for run in own):.0f}", "MB"))
    digest = statistics.median(run.digest for run in runs["ours"])
    rows.append((f"digest of the input, {what}", f"{digest:.2f}", "s"))
    for side, peers in (("usual", runs["usual"] * ROUNDS), ("copy", runs["copy"])):
        pairs = list(zip(runs["ours"], peers, strict=True))
        ratio = statistics.median(own.rate / peer.rate for own, peer in pairs)
        rows.append((f"ours / {side}, {what}", f"{ratio:.2f}", "ratio"))
        ratio = statistics.median(records / (records / own.rate + own.digest) / peer.rate for own, peer in pairs)
        rows.append((f"ours and digest / {side}, {what}", f"{ratio:.2f}", "ratio"))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "DATA", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side, data, out = arguments.side
        count = SIDES[side](Path(data), Path(out))
        print(json.dumps([count, _clock]))
    else:
        table.write("ingest", "python -m benchmarks.ingest", measure(arguments.records))
