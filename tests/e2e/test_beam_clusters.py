"""The pipeline's Beam work on a real Flink and a real Spark: the same shards and the same verdict as in one process.

`make cluster-test` alone runs it. All that runs takes 7 GB of memory.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading

import pytest

from benchmarks.ingest import make_data
from tests.beam_clusters import TOOLS, Flink, Spark
from tests.helpers import write_pairs
from tests.processes import ONE_THREAD, ROOT, cli

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
CLUSTERS = {"flink": Flink, "spark": Spark}
RECORDS = 100_000
SHARDS = 32
MANY = (f"ingest.shards={SHARDS}", "train.steps=2", "evaluation.conditions=[lfw.accuracy >= 0]")
SETTINGS = ("train.steps=30", "evaluation.conditions=[lfw.accuracy >= 0.5]")


@pytest.fixture(scope="module", autouse=True)
def asked_for():
    if not os.environ.get(TOOLS):
        pytest.skip("Flink and Spark: `make cluster-test` fetches and starts them")


@pytest.fixture(scope="module", params=CLUSTERS)
def cluster(request, tmp_path_factory):
    """Name and cluster; a test may kill one of its machines."""
    with CLUSTERS[request.param](tmp_path_factory.mktemp(request.param) / "cluster") as cluster:
        yield request.param, cluster


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's data, and what a run in one process makes of it."""
    folder = tmp_path_factory.mktemp("demo")
    drawn = cli("synth", str(folder / "data"))
    assert drawn.returncode == 0, drawn.stderr
    return folder / "data", run(folder / "data", folder / "local")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A set of 100,000 images, and what a run in one process makes of it."""
    folder = tmp_path_factory.mktemp("many")
    make_data(folder / "data", RECORDS)
    write_pairs(folder / "data", "lfw", 600)
    return folder / "data", run(folder / "data", folder / "local", *MANY)


def run(data, root, *settings, beam=()):
    """Runs the pipeline; returns a digest of each file of ingest and Transform, and the verdict."""
    words = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    command = ["-m", "pipeline", "run", "--data", str(data), "--root", str(root), "--preset", "demo", "--json"]
    ended = subprocess.run(
        [sys.executable, *command, *words, *beam],
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
        capture_output=True,
        text=True,
        check=False,
    )
    print(ended.stderr)
    assert ended.returncode == 0, ended.stderr
    return written(root / "pipeline"), verdict(json.loads(ended.stdout))


def on(name, cluster):
    """The arguments of a run on a cluster."""
    more = ["--parallelism=2"] if name == "flink" else []
    return ["--beam-runner", name, *(f"--beam-arg={argument}" for argument in (*cluster.beam_args, *more))]


def written(folder):
    """What ingest and Transform made by Beam: NODE/OUTPUT/FILE -> SHA-256.

    Left out is what names the root or the process: Transform's cache, and graphs, where TensorFlow counts functions. So
    is the list of an output's files, which lies beside it and has their sizes.
    """
    nodes = ("RecordExampleGen", "PairExampleGen", "Transform")
    files = {}
    for path in (path for node in nodes for path in (folder / node).rglob("*") if path.is_file()):
        node, output, *rest = path.relative_to(folder).parts
        named = output.startswith((".", "updated_")) or path.name in ("saved_model.pb", "fingerprint.pb")
        beside = len(rest) == 1
        if not named and not beside:
            files["/".join((node, output, *rest[1:]))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return files


def verdict(summary):
    """What an evaluation says: whether the model is blessed, and all figures.

    Not the last digits of XNorm, a mean, which differed by 1e-9 of it on a Flink.
    """
    found = summary["verification"]
    sets = {name: {**figures, "xnorm": round(figures["xnorm"], 5)} for name, figures in found["sets"].items()}
    return found["blessed"], sets


def test_the_demo_has_the_same_shards_and_the_same_verdict(cluster, demo, tmp_path):
    name, where = cluster
    data, expected = demo
    assert run(data, tmp_path / "root", beam=on(name, where)) == expected
    for machine in where.machines:
        assert "Starting worker" in machine.pool_log.read_text()


def test_a_machine_is_lost_while_100_000_records_are_ingested(cluster, many, tmp_path):
    name, where = cluster
    data, expected = many
    root, lost = tmp_path / "root", where.machines[-1]
    with killed(where, lambda: len(list((root / "ingest").rglob("*.npz")))) as finished:
        assert run(data, root, *MANY, beam=on(name, where)) == expected
    assert 0 < finished[0] < SHARDS
    assert "Starting worker" in lost.pool_log.read_text()
    assert where.workers() == 1


@contextlib.contextmanager
def killed(cluster, finished):
    """Kills a machine of a cluster, its worker pool included, once there are `finished()` shards; yields how many."""
    ended, counts = threading.Event(), []

    def wait():
        while not ended.wait(0.02):
            if count := finished():
                cluster.machines.pop().close()
                counts.append(count)
                return

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        yield counts
    finally:
        ended.set()
        waiting.join()
