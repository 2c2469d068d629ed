"""Ingest killed by SIGKILL in its middle, and started again."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import tensorflow as tf

from components.formats.recordio import write_layout
from tests.helpers import jpeg
from tests.processes import Started

pytestmark = pytest.mark.slow

SHARDS, RECORDS = 60, 24_000  # enough for processes of their own
RUN = """
import sys
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from components.record_example_gen.executor import RecordExampleGenExecutor
examples = standard_artifacts.Examples()
examples.uri = sys.argv[1]
beam = ["--runner=FnApiRunner", "--sdk_container_image=unused"]
context = BaseBeamExecutor.Context(beam_pipeline_args=beam, tmp_dir=sys.argv[1] + "-tmp")
properties = dict(zip(("input_base", "input_config", "options", "work"), sys.argv[2:]))
RecordExampleGenExecutor(context).Do({}, {"examples": [examples]}, properties)
"""


def _started(data: Path, out: Path, work: Path) -> Started:
    splits = [{"name": name, "pattern": name} for name in ("train.rec", "train.idx")]
    options = json.dumps({"shards": SHARDS})
    arguments = [str(out), str(data), json.dumps({"splits": splits}), options, str(work)]
    return Started(["-c", RUN, *arguments])


def _ingest(data: Path, out: Path, work: Path) -> None:
    with _started(data, out, work) as process:
        ended = process.wait()
    assert ended.returncode == 0, ended.stderr


def _finished(work: Path) -> dict[str, int]:
    """Name and inode of each shard that says that it's finished."""
    return {path.stem: path.with_suffix("").stat().st_ino for path in work.glob("ingest-*/Split-train/*.npz")}


def _keys(paths: list[Path]) -> list[int]:
    records = tf.data.TFRecordDataset([str(path) for path in paths]).as_numpy_iterator()
    return [tf.train.Example.FromString(r).features.feature["key"].int64_list.value[0] for r in records]


def test_no_half_shard_is_seen_and_no_finished_one_redone(tmp_path):
    data, work = tmp_path / "data", tmp_path / "work"
    image = jpeg(0)
    data.mkdir()
    write_layout(data, ([image] * 50 for _ in range(RECORDS // 50)))
    with _started(data, tmp_path / "first", work) as process:
        deadline = time.monotonic() + 120
        while len(_finished(work)) < 5 and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        writers = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    cores = len(os.sched_getaffinity(0))
    assert len(writers) == (cores if cores > 1 else 0)
    _, alive = psutil.wait_procs(writers, timeout=10)
    assert not alive  # they end with it
    before = _finished(work)
    assert 5 <= len(before) < SHARDS
    assert not list((tmp_path / "first").rglob("*.tfrecord"))
    # Every file of a shard's name is whole.
    whole = sorted(work.glob("ingest-*/Split-train/*.tfrecord"))
    assert 0 <= len(whole) - len(before) <= len(writers)
    assert len(_keys(whole)) == len(whole) * RECORDS // SHARDS

    _ingest(data, tmp_path / "second", work)
    shards = sorted((tmp_path / "second" / "Split-train").iterdir())
    assert sorted(_keys(shards)) == list(range(1, RECORDS + 1))
    after = {path.name: path.stat().st_ino for path in shards}
    assert {name: after[name] for name in before} == before
    assert not list(work.glob("ingest-*"))

    _ingest(data, tmp_path / "third", tmp_path / "elsewhere")
    for shard in shards:
        assert shard.read_bytes() == (tmp_path / "third" / "Split-train" / shard.name).read_bytes()
