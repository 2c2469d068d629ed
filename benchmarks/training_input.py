"""The training input on one core, from TFRecord shards to the batch that a step takes, against plain decoding loops.

Run it from the repository's root: `python -m benchmarks.training_input`. It prints what it writes to
`benchmarks/results/training_input.csv`. The process is bound to one core, and tf.data to one thread. Every side is
measured from rest to rest (all batches that are made ahead are there), by the CPU time of the whole process, in turns,
in several processes; a rate is the median of all turns, a ratio the median of the ratios within a turn, since the
machine's speed varies.

- input: `training_batches`: reads shards, checks their CRC, shuffles, parses, looks the class up, decodes.
- decoding: its decoding alone, from JPEGs in memory.
- OpenCV, simplejpeg, Pillow: loops over JPEGs in memory that fill one numpy array again and again.
- OpenCV to a tensor: the same, but a new array each time, which becomes a tensor: what a step can take.
- OpenCV from shards: that loop as an input of its own, which reads the same shards (TFRecordDataset, protobuf).
- default DCT: decoding with TensorFlow's default, not pixel-equal to OpenCV (see `trainer_module.data.images`).
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import table
from benchmarks.ingest import faces

MODULE = "benchmarks.training_input"
BATCH = 64
JPEGS = 2048  # different ones, of which a turn decodes each once: for the input, a turn is an epoch
IDENTITIES = 100
PROCESSES = 5  # one after the other: where a process's memory lies is worth 5 %
TURNS = 7  # of each

Side = Callable[[], object]


def write_data(folder: Path, jpegs: list[bytes]) -> tuple[list[str], str]:
    """Shards of train Examples, and Transform's output; returns the shards' glob and the path of the graph."""
    from tests.trainer_module.training_data import write_shards, write_transform_graph

    write_shards(folder / "train", [(jpeg, i % IDENTITIES) for i, jpeg in enumerate(jpegs)], shards=4)
    return [str(folder / "train" / "*.tfrecord")], write_transform_graph(folder, list(range(IDENTITIES)))


def loops(jpegs: list[bytes], patterns: list[str]) -> dict[str, Side]:
    """The plain loops; each call decodes every JPEG once."""
    import cv2
    import simplejpeg
    import tensorflow as tf

    cv2.setNumThreads(1)
    reused = np.empty((BATCH, 112, 112, 3), np.uint8)

    def decode_all(images: Iterable[bytes], batch: np.ndarray) -> None:
        for image, rgb in zip(images, batch, strict=True):
            bgr = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
            cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, rgb)

    def opencv(batch: np.ndarray, first: int) -> None:
        decode_all(jpegs[first : first + BATCH], batch)

    def opencv_to_a_tensor(_: np.ndarray, first: int) -> None:
        batch = np.empty_like(reused)
        opencv(batch, first)
        tf.convert_to_tensor(batch)

    def opencv_from_shards() -> None:
        records = tf.data.TFRecordDataset(tf.io.gfile.glob(patterns)).as_numpy_iterator()
        for _ in range(0, JPEGS, BATCH):
            examples = [tf.train.Example.FromString(next(records)).features.feature for _ in range(BATCH)]
            batch = np.empty_like(reused)
            decode_all((example["image"].bytes_list.value[0] for example in examples), batch)
            tf.convert_to_tensor(batch)
            tf.constant([example["label"].int64_list.value[0] for example in examples])

    def simple(batch: np.ndarray, first: int) -> None:
        for i in range(BATCH):
            simplejpeg.decode_jpeg(jpegs[first + i], colorspace="RGB", buffer=batch[i])

    def pillow(batch: np.ndarray, first: int) -> None:
        for i in range(BATCH):
            batch[i] = np.asarray(Image.open(io.BytesIO(jpegs[first + i])).convert("RGB"))

    def over_all(one_batch: Callable[[np.ndarray, int], None]) -> Side:
        return lambda: [one_batch(reused, first) for first in range(0, JPEGS, BATCH)]

    by_name = {"OpenCV": opencv, "OpenCV to a tensor": opencv_to_a_tensor, "simplejpeg": simple, "Pillow": pillow}
    sides = {name: over_all(one_batch) for name, one_batch in by_name.items()}
    return {**sides, "OpenCV from shards": opencv_from_shards}


def side(dataset: Any) -> Side:
    """A function that takes JPEGS images of a dataset of batches, made on one thread."""
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    iterator = iter(dataset.with_options(options))
    return lambda: [next(iterator) for _ in range(JPEGS // BATCH)]


def datasets(jpegs: list[bytes], patterns: list[str], graph: str) -> dict[str, Side]:
    """What tf.data makes; each call takes as many images as a loop decodes."""
    import tensorflow as tf

    from trainer_module.data.input_pipeline import decode_batch, training_batches
    from trainer_module.data.split import Split
    from trainer_module.settings import TrainSettings

    def default_dct(image_bytes: tf.Tensor) -> tf.Tensor:
        return tf.stack([tf.io.decode_jpeg(one, channels=3) for one in tf.unstack(image_bytes, BATCH)])

    in_memory = tf.data.Dataset.from_tensor_slices(jpegs).cache().repeat().batch(BATCH, drop_remainder=True)
    return {
        "input": side(training_batches(Split(patterns, graph), TrainSettings(batch_size=BATCH))),
        "decoding": side(in_memory.map(lambda image_bytes: decode_batch(image_bytes, BATCH))),
        "default DCT": side(in_memory.map(default_dct)),
    }


def cpu_seconds(side: Side) -> float:
    """CPU time of a call and of all that it sets off."""
    begin = time.process_time()
    side()
    while True:  # batches made ahead belong to the call that took the ones before
        before = time.process_time()
        time.sleep(0.02)
        if time.process_time() - before < 1e-3:
            return time.process_time() - begin


def rates(sides: dict[str, Side]) -> dict[str, list[float]]:
    """Images per CPU second of each side, a value a turn."""
    for side in sides.values():
        cpu_seconds(side)
    turns: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(TURNS):
        for name, side in sides.items():
            turns[name].append(JPEGS / cpu_seconds(side))
    return turns


def sustained(turns: dict[str, list[float]]) -> list[tuple[str, str, str]]:
    """Rates and ratios."""
    rows = [(name, f"{statistics.median(values):.0f}", "images per CPU second") for name, values in turns.items()]
    peers = ("OpenCV to a tensor", "OpenCV", "simplejpeg", "Pillow")
    for ours, others in (("input", ("OpenCV from shards", *peers)), ("decoding", peers), ("default DCT", peers)):
        for peer in others:
            ratio = statistics.median(a / b for a, b in zip(turns[ours], turns[peer], strict=True))
            rows.append((f"{ours} / {peer}", f"{ratio:.2f}", "ratio"))
    return rows


def first_batch_seconds(patterns: list[str], graph: str, batch_size: int) -> float:
    """From calling `training_batches` to its first batch, imports done, in a process that never called it before."""
    from trainer_module.data.input_pipeline import training_batches
    from trainer_module.data.split import Split
    from trainer_module.settings import TrainSettings

    begin = time.perf_counter()
    next(iter(training_batches(Split(patterns, graph), TrainSettings(batch_size=batch_size))))
    return time.perf_counter() - begin


def in_processes(*arguments: str) -> list[Any]:
    """What PROCESSES runs of this module print, one after the other."""
    command = [sys.executable, "-m", MODULE, *arguments]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(PROCESSES)]
    return [json.loads(run.stdout) for run in runs]


def measure() -> list[tuple[str, str, str]]:
    """Figure, value and unit of each row."""
    jpegs = faces(JPEGS)
    with tempfile.TemporaryDirectory() as temporary:
        (pattern,), graph = write_data(Path(temporary), jpegs)
        rows = [("size of a JPEG", f"{sum(map(len, jpegs)) / JPEGS / 1000:.1f}", "KB")]
        for batch_size in (BATCH, 512):
            seconds = statistics.median(in_processes("--first", pattern, graph, str(batch_size)))
            rows.append((f"time to the first batch of {batch_size}", f"{seconds:.2f}", "s"))
        turns: dict[str, list[float]] = {}
        for of_process in in_processes("--rates", pattern, graph):
            for name, values in of_process.items():
                turns.setdefault(name, []).extend(values)
        return rows + sustained(turns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", nargs=3, metavar=("PATTERN", "GRAPH", "BATCH"), help=argparse.SUPPRESS)
    parser.add_argument("--rates", nargs=2, metavar=("PATTERN", "GRAPH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if arguments.first:
        print(first_batch_seconds([arguments.first[0]], arguments.first[1], int(arguments.first[2])))
    elif arguments.rates:
        (pattern, graph), jpegs = arguments.rates, faces(JPEGS)
        print(json.dumps(rates({**loops(jpegs, [pattern]), **datasets(jpegs, [pattern], graph)})))
    else:
        table.write("training_input", f"python -m {MODULE}", measure())
    # All is written; TensorFlow's iterators crash the interpreter's last garbage collection (a segmentation fault).
    sys.stdout.flush()
    os._exit(0)
