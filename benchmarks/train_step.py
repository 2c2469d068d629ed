"""Training steps against PyTorch's, in time and memory, and where the time goes.

Run it from the repository's root: `python -m benchmarks.train_step`. It makes an environment for PyTorch in a temporary
folder with the project's own uv (5 GB), or takes the interpreter that `--pytorch` names. It prints what it writes to
`benchmarks/results/train_step.csv`. Each side is a process of its own, with all cores; they take turns of one step. A
time is the median of the turns, a ratio the median of the ratios within a turn.

- whole: iresnet50, from uint8 pixels to new weights, with the norm of the gradient.
- head: the same of hardly a network, so that the head and its optimizer are nearly all. PyTorch's head is the full one.
- input, compute, both: images/s of reading data alone, of steps on pixels in memory, of steps that read.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import step_process, table
from benchmarks.step_process import StepProcess

MODULE = "benchmarks.train_step"
PYTORCH = "torch==2.13.0"
BATCH = 16
# Backbone, identities, the share that is sampled here, turns.
DUELS = (
    ("iresnet50", 10_000, 1.0, 6),
    ("pooled", 100_000, 0.1, 7),
    ("pooled", 1_000_000, 0.1, 5),
    ("iresnet50", 100_000, 0.1, 3),
    ("iresnet50", 1_000_000, 0.1, 3),
)
JPEGS = 2048  # of the data that is read
READERS = (("iresnet_tiny", 64, 20), ("iresnet50", 16, 3))  # backbone, batch, steps

Rows = Iterator[tuple[str, str, str]]


def pooled(*, name: str, embedding_dim: int, dropout: float, norm: str) -> "tf_keras.Model":  # type: ignore[name-defined] # noqa: F821
    """Hardly a network: means of 8x8 pixels, and a dense layer."""
    import tf_keras

    image = tf_keras.Input((112, 112, 3))
    means = tf_keras.layers.Flatten()(tf_keras.layers.AveragePooling2D(8)(image))
    return tf_keras.Model(image, tf_keras.layers.Dense(embedding_dim)(means), name=name)


def backbone_called(name: str) -> str:
    """How a setting names it."""
    return f"{MODULE}:pooled" if name == "pooled" else name


def make_pytorch(folder: Path) -> str:
    """Makes an environment with PyTorch; returns its interpreter."""
    from tools.setup import UV, tool_environment

    python = str(folder / "bin" / "python")
    make, install = ["venv", "--python", sys.executable, str(folder)], ["pip", "install", "--python", python]
    for command in (make, [*install, PYTORCH, "numpy"]):
        subprocess.run([str(UV), *command], check=True, env=tool_environment(os.environ))
    return python


def duel(pytorch: str, backbone: str, classes: int, rate: float, turns: int) -> Rows:
    """Times, peaks and their ratios."""
    size = (str(BATCH), str(classes))
    with (
        StepProcess(sys.executable, MODULE, "--step", backbone, *size, str(rate)) as ours,
        StepProcess(pytorch, "benchmarks.pytorch_step", backbone, *size) as theirs,
    ):
        step_process.take_turns((ours, theirs), turns)
    what = f"{'head' if backbone == 'pooled' else backbone}, batch of {BATCH}, {classes:,} identities"
    for who, side in (("here" if rate == 1.0 else f"here, {rate:g} of them sampled", ours), ("PyTorch", theirs)):
        yield f"{what}, {who}: step", f"{statistics.median(side.wall):.2f}", "s"
        yield f"{what}, {who}: CPU time of a step", f"{statistics.median(side.cpu):.2f}", "s"
        yield f"{what}, {who}: peak memory", f"{side.peak / 1e9:.2f}", "GB"
    yield f"{what}: speed to PyTorch's by wall", f"{step_process.ratio(ours.wall, theirs.wall):.2f}", "ratio"
    yield f"{what}: speed to PyTorch's by CPU time", f"{step_process.ratio(ours.cpu, theirs.cpu):.2f}", "ratio"
    yield f"{what}: peak memory to PyTorch's", f"{ours.peak / theirs.peak:.2f}", "ratio"


def rate_of(call: Callable[[], object], batch: int, steps: int) -> str:
    """Images/s of a call that takes a batch."""
    for _ in range(3):
        call()
    begin = time.perf_counter()
    for _ in range(steps):
        call()
    return f"{batch * steps / (time.perf_counter() - begin):.4g}"


def where_time_goes() -> Rows:
    """Images/s of reading, of computing, of both."""
    from benchmarks import steps, training_input
    from trainer_module.data.input_pipeline import training_batches
    from trainer_module.data.split import Split
    from trainer_module.settings import TrainSettings

    with tempfile.TemporaryDirectory() as temporary:
        patterns, graph = training_input.write_data(Path(temporary), training_input.faces(JPEGS))
        classes = training_input.IDENTITIES
        for backbone, batch, count in READERS:
            read = training_batches(Split(patterns, graph), TrainSettings(batch_size=batch))
            told = {"backbone": backbone, "batch_size": batch}
            iterator = iter(read)
            calls = {
                "input alone": lambda iterator=iterator: next(iterator),
                "compute alone": steps.steps(classes, steps.random_batches(batch, classes), **told),
                "both": steps.steps(classes, read, **told),
            }
            for name, call in calls.items():
                longer = 20 if name == "input alone" else 1
                yield f"{backbone}, batch of {batch}: {name}", rate_of(call, batch, count * longer), "images/s"


def measure(pytorch: str) -> Rows:
    """Figure, value and unit of each row."""
    for one in DUELS:
        yield from duel(pytorch, *one)
    yield from where_time_goes()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pytorch", metavar="PYTHON", help="an interpreter that has PyTorch")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}  # the latter as the commands do
    if arguments.step:
        from benchmarks import steps

        backbone, (batch, classes), rate = arguments.step[0], map(int, arguments.step[1:3]), float(arguments.step[3])
        told = {"backbone": backbone_called(backbone), "batch_size": batch, "sample_rate": rate}
        step_process.serve(steps.steps(classes, steps.random_batches(batch, classes), **told))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            pytorch = arguments.pytorch or make_pytorch(Path(temporary) / "pytorch")
            table.write("train_step", f"python -m {MODULE}", measure(pytorch))
    # All is written; TensorFlow's iterators crash the interpreter's last garbage collection (a segmentation fault).
    sys.stdout.flush()
    os._exit(0)
