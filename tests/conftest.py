"""What all tests share: the oracle's interpreter, real faces, an S3 server; a summary that says what was left out."""

import collections
import multiprocessing.util
import os
import random
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_FACES_VARIABLE = "ARCFACE_TFX_REAL_FACES"
# Reason -> number of tests that did not run for it, in this process.
_left_out: collections.Counter[str] = collections.Counter()
# As the product does: the processor must not choose which kernels are tested, and no process imports two Keras.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# Messages are English wherever the tests run, and Beam's argument parsers, thousands a run, look for no translation.
os.environ["LANGUAGE"] = "C"


def pytest_configure(config: pytest.Config) -> None:
    """Gives the tests and their processes a temporary folder of their own, which goes with them.

    TensorFlow, Beam and killed commands leave thousands of files there. `tmp_path` stays where pytest puts it.
    """
    if hasattr(config, "workerinput"):  # of xdist: it has its parent's
        return
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix="arcface-tfx-tests-")
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    # After multiprocessing has removed its own folder in there, whose priority is -100.
    multiprocessing.util.Finalize(None, shutil.rmtree, (folder, True), exitpriority=-101)


def pytest_xdist_auto_num_workers() -> int:
    """One process more than processors: a third of the tests' time is spent waiting for a clock or another process."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes begin with the files that take longest: none is left with one of them while the others idle."""
    if hasattr(config, "workerinput"):
        counts: collections.Counter[tuple[Path, str]] = collections.Counter()
        for item in items:
            counts.update((item.path, kind) for kind in ("", *{mark.name for mark in item.iter_markers()}))
        items.sort(key=lambda item: [-counts[item.path, kind] for kind in ("e2e", "slow", "")])  # stable


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Leaves bfloat16 out where ONEDNN_MAX_CPU_ISA takes its kernels away.

    TensorFlow 2.21 asks the processor, not oneDNN, whether there are any, and ends the process (SIGABRT) at the first.
    """
    if "bfloat16" in item.nodeid and _less_than_the_processor():
        item.add_marker(
            pytest.mark.skip(reason="ONEDNN_MAX_CPU_ISA takes bfloat16's kernels from a processor with AVX-512")
        )


def _less_than_the_processor() -> bool:
    capped = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ("SSE41", "AVX", "AVX2", "AVX2_VNNI")
    return capped and " avx512f " in Path("/proc/cpuinfo").read_text()


@pytest.fixture(scope="session")
def mxnet_python() -> Path:
    """The interpreter of the oracle's environment (mxnet 1.9.1), for tests to run as a subprocess.

    `make test` makes the environment, so its absence is a mistake and fails the test; a skip would hide it.
    """
    python = ROOT / ".venv-mxnet" / "bin" / "python"
    if not os.access(python, os.X_OK):
        pytest.fail(f"expected the oracle's environment: run `make setup-dev`. Received: no {python.relative_to(ROOT)}")
    return python


@pytest.fixture(scope="session")
def real_faces(request: pytest.FixtureRequest) -> Path:
    """The folder of real face images and published weights, which do not belong to this repository.

    It is ../shared/real beside the repository, or what ARCFACE_TFX_REAL_FACES names. A test that needs it is skipped
    where it is absent, and the summary says so; a variable that names no folder is a mistake and fails.
    """
    named = os.environ.get(REAL_FACES_VARIABLE)
    folder = Path(named) if named else ROOT.parent / "shared" / "real"
    if folder.is_dir():
        return folder
    if named:
        pytest.fail(f"expected {REAL_FACES_VARIABLE} to name a folder. Received: {named}")
    pytest.skip(f"real faces are absent: no ../shared/real beside the repository, and {REAL_FACES_VARIABLE} is not set")


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an S3 server on this host, which the environment names for every process that is started."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        yield client
        client.close()
    server.stop()


@pytest.fixture
def bucket(s3: Any) -> Iterator[str]:
    """The name of an empty bucket."""
    s3.create_bucket(Bucket="faces")
    yield "faces"
    for entry in s3.list_objects_v2(Bucket="faces").get("Contents", []):
        s3.delete_object(Bucket="faces", Key=entry["Key"])
    s3.delete_bucket(Bucket="faces")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Networks that a test or its fixtures build have the same weights on every run, whatever ran before.

    `tf_keras.utils.set_random_seed` would give every test the same seed of TensorFlow's, too. For that it must forget
    all compiled functions, since their random ops count on: 0.3 s a test. Here each test has a seed of its own.
    """
    if "tf_keras" in sys.modules:
        from tensorflow.python.eager import context
        from tf_keras.src import backend

        random.seed(1)
        np.random.seed(1)
        backend._SEED_GENERATOR.generator = random.Random(1)
        ours = context.context()
        ours._seed = zlib.crc32(item.nodeid.encode())
        ours._rng = random.Random(ours._seed)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        _left_out[reason] += 1


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        kinds = sorted({mark.name for mark in item.iter_markers()} & {"slow", "e2e"})
        _left_out[f"deselected ({', '.join(kinds) or 'by choice'})"] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says on every run, without options, how many tests did not run and why."""
    if _left_out:
        terminalreporter.section("left out")
        for reason, count in sorted(_left_out.items()):
            terminalreporter.line(f"{count} x {reason}")
