"""The processes that write shards, beyond what ingest shows of them."""

import os
import resource
import signal

import psutil
import pytest

from components.formats.recordio import RecordReader, read_index, read_layout, write_layout
from components.record_example_gen import writer
from components.record_example_gen.plan import read_plan, select, write_plan
from components.record_example_gen.settings import IngestSettings
from components.record_example_gen.shards import ShardJob, ShardStore
from components.record_example_gen.source import ImageSource
from tests.helpers import jpeg

IMAGES = 600


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    images = [jpeg(i) for i in range(IMAGES)]
    write_layout(folder, (images[: IMAGES // 2], images[IMAGES // 2 :]))
    return folder


def _plan(data, store, shards):
    rec = data / "train.rec"
    settings = IngestSettings(shards=shards)
    with RecordReader(str(rec)) as reader:
        layout = read_layout(reader, read_index(str(data / "train.idx")))
    selection = select(layout.num_images, None, settings)
    tasks = write_plan(store.plan, store.aside, layout, selection, rec.stat().st_size, settings)
    return ShardJob(str(rec), store, settings, selection.records), tasks


def _children():
    return psutil.Process().children(recursive=True)


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_shards_are_the_same_from_any_number_of_processes(data, tmp_path, processes):
    alone, together = ShardStore(str(tmp_path / "alone")), ShardStore(str(tmp_path / "together"))
    job, tasks = _plan(data, alone, shards=3)
    for task in tasks:
        job.write(task)
    job, tasks = _plan(data, together, shards=3)
    assert sorted(writer.write_in_processes(job, tasks, processes)) == [200, 200, 200]
    for task in tasks:
        with open(alone.shard(task), "rb") as expected, open(together.shard(task), "rb") as received:
            assert received.read() == expected.read()


def test_a_process_that_is_started_ahead_is_the_one_that_writes_and_ends_in_any_case(data, tmp_path):
    before = _children()
    with writer.started_ahead():
        pass
    assert _children() == before
    with writer.started_ahead():
        (process,) = [child for child in _children() if child not in before]
        job, tasks = _plan(data, ShardStore(str(tmp_path)), shards=2)
        written = writer.write_in_processes(job, tasks, 1)
        next(written)
        assert [child for child in _children() if child not in before] == [process]
        list(written)
    assert _children() == before


def test_a_writer_that_is_killed_is_an_error(data, tmp_path):
    job, tasks = _plan(data, ShardStore(str(tmp_path)), shards=IMAGES)
    before = _children()
    written = writer.write_in_processes(job, tasks, 2)
    next(written)
    (forked,) = [child for child in _children() if child not in before and child.ppid() != os.getpid()]
    forked.send_signal(signal.SIGKILL)
    with pytest.raises(RuntimeError, match="expected the writers to end with code 0. Received: code 1"):
        list(written)


def test_a_shard_for_which_there_is_no_room_is_an_error_that_names_it(data, tmp_path):
    job, tasks = _plan(data, ShardStore(str(tmp_path)), shards=2)
    before = _children()
    with writer.started_ahead():
        (process,) = [child for child in _children() if child not in before]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (10_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        with pytest.raises(
            OSError, match=r"\[Errno 27\] File too large: \d+ bytes: '.*data-0000[01]-of-00002.tfrecord"
        ):
            list(writer.write_in_processes(job, tasks, 2))
    assert not list(tmp_path.rglob("*.tfrecord"))
    assert not list((tmp_path / "unfinished").iterdir())


def test_a_cold_file_is_announced_and_read_as_it_is(data, tmp_path):
    """With its pages dropped from the cache; where they can't be (a file system in memory), this reads a warm one."""
    job, tasks = _plan(data, ShardStore(str(tmp_path)), shards=1)
    with open(job.rec, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    source = ImageSource(job.rec)
    images = {key: image for key, _, image, _ in source.images(read_plan(job.store.plan, tasks[0]))}
    source.close()
    assert images == {key + 1: jpeg(key) for key in range(IMAGES)}
