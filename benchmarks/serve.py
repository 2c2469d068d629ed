"""What serving costs: the network by each engine, the endpoint over the model in this process, and memory over reloads.

Run it from the repository's root, a part at a time; each takes less than 5 minutes, and leaves the others' rows:
`python -m benchmarks.serve engines BACKBONE THREADS BATCH`, `python -m benchmarks.serve endpoint BACKBONE [ENGINE]` and
`python -m benchmarks.serve reloads BACKBONE [ENGINE]`.

What is compared takes turns call by call, so that all meet the same load of the machine. Where others compute on it,
too, "by CPU time" is the fairer figure: images for each second that the process itself computed.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import table
from benchmarks.embedding import child, jpegs

MODULE = "benchmarks.serve"
SECONDS = 60  # of turns
BATCH = 32
ROUNDS = 4  # requests of each client in a turn
RELOADS = 20
BASELINE = "onnxruntime"
Rows = Iterator[tuple[str, str, str]]
Call = Callable[[np.ndarray], Any]


def engines(backbone: str, threads: int, batch: int) -> Rows:
    """The network alone, uint8 pixels to raw or normalised embedding, on the same weights."""
    import tensorflow as tf

    from arcface_common.features import PixelFormat
    from serving.inference import engines as others
    from serving.inference.network import InferenceNetwork
    from serving.inference.onnx_model import to_onnx
    from serving.signatures import EmbeddingModel
    from trainer_module import backbones

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    built = backbones.build(backbone)
    inference = InferenceNetwork(built)
    trained, folded = (EmbeddingModel(network, PixelFormat()) for network in (built, inference))
    compiled = tf.function(lambda pixels: folded.raw(pixels), jit_compile=True)
    calls: dict[str, Call] = {
        "as trained": lambda pixels: trained.raw(tf.constant(pixels)).numpy(),
        "folded": lambda pixels: folded.raw(tf.constant(pixels)).numpy(),
        "folded, XLA": lambda pixels: compiled(tf.constant(pixels)).numpy(),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        file.write_bytes(to_onnx(inference.network, PixelFormat(), {}).SerializeToString())
        for name, engine in others.ENGINES.items():
            calls[name] = _of_pixels(engine(str(file), threads))
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 112, 112, 3), dtype=np.uint8)
    wall, cpu = _turns(calls, pixels)
    for name in calls:
        what = f"{backbone}, {threads} thread{'s' * (threads > 1)}, batch {batch}, {name}"
        yield what, f"{batch / np.median(wall[name]):.2f}", "images/s"
        yield f"{what}, by CPU time", f"{batch / np.median(cpu[name]):.2f}", "images/s"
        yield f"{what}, p50 of {len(wall[name])}", f"{np.median(wall[name]) * 1e3:.1f}", "ms"
        yield f"{what}, p99 of {len(wall[name])}", f"{np.percentile(wall[name], 99) * 1e3:.1f}", "ms"
        if name != BASELINE:
            yield f"{what} / {BASELINE}", f"{_ratio(wall[BASELINE], wall[name]):.3f}", "ratio"
            yield f"{what} / {BASELINE}, by CPU time", f"{_ratio(cpu[BASELINE], cpu[name]):.3f}", "ratio"


def _of_pixels(compute: Call) -> Call:
    return lambda pixels: compute(pixels.astype(np.float32))


def _ratio(others: list[float], ours: list[float]) -> float:
    """How many times as fast, turn by turn."""
    return statistics.median(other / our for other, our in zip(others, ours, strict=True))


def _turns(calls: dict[str, Call], pixels: np.ndarray) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds and CPU seconds of each call, 5 turns at least, after one that isn't counted."""
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call(pixels)
    end = time.perf_counter() + SECONDS
    for turn in range(1000):
        if turn >= 5 and time.perf_counter() > end:
            break
        for name, call in calls.items():
            begin, computed = time.perf_counter(), time.process_time()
            call(pixels)
            wall[name].append(time.perf_counter() - begin)
            cpu[name].append(time.process_time() - computed)
    return wall, cpu


def endpoint(backbone: str, engine: str = "tensorflow") -> Rows:
    """`serve` in a process of its own, asked by gRPC from this one, against the same graph and bytes in this one."""
    import grpc

    with tempfile.TemporaryDirectory() as folder, _served(Path(folder), backbone, engine) as server:
        inside = _inside(str(server.path), engine)
        images = jpegs(BATCH)
        with grpc.insecure_channel(server.address) as channel:
            predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            whole = _request(images)
            pairs = []
            end = time.perf_counter() + SECONDS
            while len(pairs) < 6 or time.perf_counter() < end:
                pairs.append((_timed(lambda: predict(whole)), _timed(lambda: inside(images))))
        over = statistics.median(there / here for there, here in pairs[1:]) - 1
        batch_seconds = statistics.median(here for _, here in pairs[1:])
        what = f"{backbone} by {engine}"
        yield f"{what}, batch {BATCH} in this process", f"{BATCH / batch_seconds:.2f}", "images/s"
        yield f"{what}, what gRPC adds to a batch of {BATCH}, median of {len(pairs) - 1}", f"{over * 100:.1f}", "%"
        singles = [_request([image]) for image in images]
        walls, cpus = [], []
        end = time.perf_counter() + SECONDS
        while len(walls) < 4 or time.perf_counter() < end:
            here, here_cpu = _both(os.getpid(), lambda: inside(images))
            there, there_cpu = _both(server.pid, lambda: asyncio.run(_crowd(server.address, singles)))
            walls.append(ROUNDS * here / there)
            cpus.append(ROUNDS * here_cpu / there_cpu)
        crowd = f"{what}, {BATCH} clients of an image each / the batch in this process"
        yield crowd, f"{statistics.median(walls[1:]):.3f}", "ratio"
        yield f"{crowd}, by the server's CPU time", f"{statistics.median(cpus[1:]):.3f}", "ratio"
        waited = asyncio.run(_half_load(server.address, singles, batch_seconds))
        p99 = float(np.percentile(waited, 99))
        yield f"{what}, p99 at half load, {len(waited)} requests of an image", f"{p99 * 1e3:.0f}", "ms"
        yield f"{what}, p99 at half load / a batch of {BATCH}", f"{p99 / batch_seconds:.3f}", "ratio"


def _timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _both(pid: int, call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of a call, and the CPU seconds that a process computed meanwhile."""
    import psutil

    process = psutil.Process(pid)
    before = sum(process.cpu_times()[:2])
    wall = _timed(call)
    return wall, sum(process.cpu_times()[:2]) - before


def _request(images: list[bytes]) -> bytes:
    from serving.protos import message

    request = message("tf_serving", "arcface_tfx.tf_serving.PredictRequest")(model_spec={"name": "arcface"})
    tensor = request.inputs["image_bytes"]
    tensor.dtype = 7  # DT_STRING
    tensor.tensor_shape.dim.add(size=len(images))
    tensor.string_val.extend(images)
    return bytes(request.SerializeToString())


async def _crowd(address: str, requests: list[bytes]) -> None:
    """Clients that each ask again when they have their answer."""
    import grpc

    async with grpc.aio.insecure_channel(address) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

        async def client(request: bytes) -> None:
            for _ in range(ROUNDS):
                await predict(request)

        await asyncio.gather(*map(client, requests))


async def _half_load(address: str, requests: list[bytes], batch_seconds: float) -> list[float]:
    """Seconds of each of the requests that come at random, half as many as full batches would answer."""
    import grpc

    random = np.random.default_rng(0)
    mean = 2 * batch_seconds / BATCH
    count = int(np.clip(SECONDS / mean, 100, 2000))
    async with grpc.aio.insecure_channel(address) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

        async def one(number: int, wait: float) -> float:
            await asyncio.sleep(wait)
            begin = time.perf_counter()
            await predict(requests[number % len(requests)])
            return time.perf_counter() - begin

        starts = np.cumsum(random.exponential(mean, count))
        return list(await asyncio.gather(*(one(number, wait) for number, wait in enumerate(starts.tolist()))))


def _inside(path: str, engine: str) -> Callable[[list[bytes]], Any]:
    from serving.server.core import load_servable

    servable = load_servable(path, engine)
    return lambda images: servable.run("serving_default", {"image_bytes": np.array(images, object)})


def reloads(backbone: str, engine: str = "tensorflow") -> Rows:
    """Memory of the server after each of the reloads of a model of the same size."""
    import psutil

    with tempfile.TemporaryDirectory() as folder, _served(Path(folder), backbone, engine) as server:
        memory = [psutil.Process(server.pid).memory_info().rss]
        for number in range(2, RELOADS + 2):
            aside = server.path.parent / f".{number}"
            shutil.move(server.path, aside)
            server.path = aside.rename(server.path.parent / str(number))
            server.until(str(number))
            memory.append(psutil.Process(server.pid).memory_info().rss)
        what = f"{backbone} by {engine}, memory of the server"
        yield f"{what} after its start", f"{memory[0] / 1e6:.0f}", "MB"
        for number in (1, 5, 10, 15, 20):
            yield f"{what} after {number} reload{'s' * (number > 1)}", f"{memory[number] / 1e6:.0f}", "MB"
        growth = float(np.polyfit(range(5, RELOADS + 1), memory[5:], 1)[0])
        yield f"{what}, slope from the fifth reload on", f"{growth / 1e6:.2f}", "MB a reload"


class _Server:
    """`arcface-tfx serve` of one model, in a process of its own."""

    def __init__(self, folder: Path, path: Path, engine: str) -> None:
        self.path = path
        ports = [_free(), _free()]
        self.address, self._rest = (f"127.0.0.1:{port}" for port in ports)
        command = [sys.executable, "-m", "pipeline", "serve", str(folder), "--engine", engine, "--poll-seconds", "0.2"]
        command += ["--port", str(ports[0]), "--rest-port", str(ports[1])]
        self._said = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(command, stderr=self._said)
        self.pid = self._process.pid

    def until(self, version: str) -> None:
        """Waits until this version alone is there."""
        for _ in range(3000):
            if self._process.poll() is not None:
                self._said.seek(0)
                raise RuntimeError(f"expected a server. Received: {self._said.read()[-2000:]}")
            with contextlib.suppress(OSError, ValueError, KeyError):
                with urllib.request.urlopen(f"http://{self._rest}/v1/models/arcface", timeout=5) as answer:
                    states = json.load(answer)["model_version_status"]
                alive = [state["version"] for state in states if state["state"] in ("AVAILABLE", "UNLOADING")]
                if alive == [version]:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"expected version {version} within 300 s")

    def end(self) -> None:
        """SIGTERM, and its end."""
        self._process.terminate()
        self._process.wait(60)


@contextlib.contextmanager
def _served(folder: Path, backbone: str, engine: str) -> Iterator[_Server]:
    child("model", folder, backbone)
    path = (folder / "m").resolve()
    path.mkdir()
    (folder / backbone / "Format-Serving").rename(path / "1")
    server = _Server(path, path / "1", engine)
    try:
        server.until("1")
        yield server
    finally:
        server.end()


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


_PARTS: dict[str, Callable[..., Rows]] = {"engines": engines, "endpoint": endpoint, "reloads": reloads}


if __name__ == "__main__":
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}  # as every command of the product
    part, *rest = sys.argv[1:]
    arguments = [int(value) if value.isdigit() else value for value in rest]
    table.write("serve", f"python -m {MODULE} {' '.join(sys.argv[1:])}", _PARTS[part](*arguments), in_parts=True)
