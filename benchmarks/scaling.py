"""What workers cost and save: images/s, bytes exchanged and memory, with whole class centres and with sharded ones.

`python -m benchmarks.scaling` prints what it writes to benchmarks/results/scaling.csv. Each case is one or
two worker processes that train by TF_CONFIG as the Trainer's do, in a network namespace of their own: its loopback
device counts their bytes and nobody else's. The network is hardly one, so that the head is nearly all.

The last rows are arithmetic: what N GPUs over a given link would do. Nothing of them is measured.
"""

import dataclasses
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import memory, table

MODULE = "benchmarks.scaling"
BATCH, STEPS, DIM = 64, 5, 128
CASES = tuple(
    (classes, workers, sharded)
    for classes in (100_000, 1_000_000)
    for workers, sharded in ((1, False), (2, False), (2, True))
)
_WEIGHTS = 43_628_480  # of iresnet50
_IN_NAMESPACE = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")

Rows = Iterator[tuple[str, str, str]]


@dataclasses.dataclass(frozen=True)
class Model:
    """The time of a step on N GPUs, as far as arithmetic tells: computing, then exchanging, with nothing at once.

    A ring all-reduce sends 2 (N - 1) / N of its bytes over each GPU's link, an all-gather (N - 1) / N.

    Attributes:
      backbone: number of its weights, whose gradient all exchange.
      classes: C.
      dim: D.
      batch: images of each GPU.
      rate: images/s of one GPU in the backbone.
      flops: of one GPU in the head's products, which are 6 batch C D: forwards, for embeddings, for centres.
      link: bytes/s of a GPU's link.
      share: of the classes that a step draws.
    """

    backbone: int
    classes: int
    dim: int
    batch: int
    rate: float
    flops: float
    link: float
    share: float = 1.0

    def exchanged(self, gpus: int, *, sharded: bool) -> float:
        """Bytes that each GPU sends in a step."""
        share = (gpus - 1) / gpus
        gradient = 4 * self.backbone * 2 * share
        if not sharded:
            return gradient + 4 * self.classes * self.dim * 2 * share
        # Embeddings to all, their gradients' sum to all; of each image some ten numbers more.
        return gradient + 4 * gpus * self.batch * (self.dim * 3 + 20) * share

    def images_per_second(self, gpus: int, *, sharded: bool) -> float:
        """Of all GPUs together."""
        # Of N times the images with 1 / N of the classes, or of a GPU's own with all: as many products.
        computing = self.batch / self.rate + 6 * self.batch * self.share * self.classes * self.dim / self.flops
        seconds = computing + self.exchanged(gpus, sharded=sharded) / self.link
        return gpus * self.batch / seconds

    def head_bytes(self, gpus: int, *, sharded: bool) -> float:
        """Memory of a GPU for centres, momentum, and their gradient, and for a float32 matrix of its logits."""
        share = gpus if sharded else 1
        images = self.batch * gpus if sharded else self.batch
        return 4 * self.classes / share * (3 * self.dim + images)


def free_ports(count: int) -> list[str]:
    """Addresses on this host that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def gang(classes: int, workers: int, sharded: bool) -> None:
    """In the namespace: starts the workers, and prints what each says as one list."""
    cluster = {"worker": free_ports(workers)}
    processes = []
    for index in range(workers):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) if workers > 1 else ""
        command = [sys.executable, "-m", MODULE, "worker", str(classes), str(workers), str(int(sharded))]
        environment = {**os.environ, "TF_CONFIG": config, "OMP_NUM_THREADS": "1"}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    said = [process.communicate()[0] for process in processes]
    print(json.dumps([json.loads(text.splitlines()[-1]) for text in said]))


def worker(classes: int, workers: int, sharded: bool) -> None:
    """One of them: trains, and prints its figures."""
    import tensorflow as tf

    from benchmarks.steps import random_batches
    from trainer_module.settings import TrainSettings
    from trainer_module.training.state import create_state
    from trainer_module.training.step import make_train_step
    from trainer_module.workers.distribution import make_strategy

    tf.config.threading.set_intra_op_parallelism_threads(1)  # each worker has one of the processors
    settings = TrainSettings(
        backbone="benchmarks.train_step:pooled",
        **{"embedding_dim": DIM, "batch_size": BATCH, "steps": 1000, "warmup_steps": 0},
        **{"workers": workers, "shard_centres": sharded},
    )
    imports = memory.resident()
    strategy = make_strategy(settings)
    with strategy.scope():
        state = create_state(settings, classes)
    batches = strategy.distribute_datasets_from_function(lambda _: random_batches(BATCH // workers, classes))
    step, iterator = make_train_step(strategy, state, settings), iter(batches)
    head = [state.head.centres, *(v for v in state.optimizer.variables if v.shape == state.head.centres.shape)]
    step(iterator)["loss"].numpy()
    sent, begin = loopback_bytes(), time.perf_counter()
    for _ in range(STEPS):
        step(iterator)["loss"].numpy()
    seconds = time.perf_counter() - begin
    told = {"seconds": seconds / STEPS, "bytes": (loopback_bytes() - sent) / STEPS, "peak": memory.peak() - imports}
    held = sum(4 * int(tf.size(variable)) for variable in head)
    print(json.dumps({**told, "resident": memory.resident() - imports, "head": held}), flush=True)


def loopback_bytes() -> int:
    """What this namespace's loopback device has sent."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    (line,) = [line for line in lines if line.strip().startswith("lo:")]
    return int(line.split(":")[1].split()[8])


def measured() -> Rows:
    """Figure, value and unit of each case."""
    for classes, workers, sharded in CASES:
        command = [*_IN_NAMESPACE, sys.executable, "-m", MODULE, "gang", str(classes), str(workers), str(int(sharded))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        several = f"{workers} worker{'s' if workers > 1 else ''}"
        name = f"{classes:,} identities, {several}, {'sharded' if sharded else 'whole'} centres"
        seconds = max(one["seconds"] for one in found)
        yield f"{name}: images", f"{BATCH / seconds:.3g}", "images/s"
        yield f"{name}: bytes exchanged", f"{max(one['bytes'] for one in found) / 1e6:.2f}", "MB a step"
        yield f"{name}: centres and momentum", f"{max(one['head'] for one in found) / 1e6:.1f}", "MB a worker"
        for kind in ("resident", "peak"):
            yield (
                f"{name}: {kind} memory beside the imports",
                f"{max(one[kind] for one in found) / 1e9:.2f}",
                "GB a worker",
            )


def expected() -> Rows:
    """The arithmetic: iresnet50, 64 images a GPU that does 1,000/s of them, centres of 512 at 50 TFLOP/s."""
    links = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9, "NVLink, 150 GB/s": 150e9}
    for classes, gpus, sharded in itertools.product((100_000, 1_000_000), (8, 64), (False, True)):
        model = Model(_WEIGHTS, classes, 512, 64, 1000.0, 50e12, links["10 Gbit/s"])
        name = f"arithmetic: {classes:,} identities, {gpus} GPUs, {'sharded' if sharded else 'whole'} centres"
        yield f"{name}: sent", f"{model.exchanged(gpus, sharded=sharded) / 1e6:.0f}", "MB a GPU and step"
        yield f"{name}: head", f"{model.head_bytes(gpus, sharded=sharded) / 1e9:.2f}", "GB a GPU"
        for named, link in links.items():
            rate = dataclasses.replace(model, link=link).images_per_second(gpus, sharded=sharded)
            yield f"{name}: images over {named}", f"{rate:.0f}", "images/s"
    for share, published in ((1.0, 2270), (0.1, 5300)):
        # speed_benchmark.md of arcface_torch: float16 backbone, float32 head; V100s do 15 TFLOP/s of it.
        model = Model(_WEIGHTS, 3_000_000, 512, 128, 5102 / 8, 15e12, 130e9, share)
        name = f"3,000,000 identities on 8 V100, sharded centres, {share:g} of them drawn"
        yield f"arithmetic: {name}: images", f"{model.images_per_second(8, sharded=True):.0f}", "images/s"
        yield f"published by arcface_torch: {name}: images", f"{published}", "images/s"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        role, *told = sys.argv[1:]
        {"gang": gang, "worker": worker}[role](int(told[0]), int(told[1]), bool(int(told[2])))
    else:
        table.write("scaling", f"python -m {MODULE}", [*measured(), *expected()])
