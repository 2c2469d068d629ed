"""Whose shards are kept for another try, and until when."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.record_example_gen.stores import held_store, remove_stores, store_name
from tests.helpers import ROOT

# Holds a store in another process, until its standard input ends.
HOLD = """
import sys
from components.record_example_gen.stores import held_store
with held_store(sys.argv[1], "", sys.argv[2]) as store:
    print("held", flush=True)
    sys.stdin.read()
"""


class _Failed(Exception):
    """An ingest that doesn't come to its end."""


def _hold(work: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(work), name]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _fail(work: Path, name: str, content: str) -> None:
    """An ingest that leaves a shard."""
    with pytest.raises(_Failed), held_store(str(work), "", name) as store:
        Path(store.folder, "shard").write_text(content)
        raise _Failed


def test_the_name_goes_by_input_code_and_settings():
    names = {store_name("d", "c", {"seed": 1}), store_name("e", "c", {"seed": 1})}
    names |= {store_name("d", "other", {"seed": 1}), store_name("d", "c", {"seed": 2})}
    assert len(names) == 4
    assert store_name("d", "c", {"a": 1, "b": 2}) == store_name("d", "c", {"b": 2, "a": 1})


def test_a_failed_ingest_finds_its_shards_again_and_a_finished_one_leaves_nothing(tmp_path):
    _fail(tmp_path, "ingest-1", "mine")
    with held_store(str(tmp_path), "", "ingest-1") as store:
        assert Path(store.folder, "shard").read_text() == "mine"
    assert not os.listdir(tmp_path)


def test_what_a_former_try_said_is_wrong_is_forgotten(tmp_path):
    with pytest.raises(_Failed), held_store(str(tmp_path), "", "ingest-1") as store:
        Path(store.failed).write_text("a bad record")
        raise _Failed
    with held_store(str(tmp_path), "", "ingest-1") as store:
        assert not os.path.exists(store.failed)


def test_another_ingest_removes_what_a_failed_one_left(tmp_path):
    _fail(tmp_path, "ingest-1", "mine")
    _fail(tmp_path, "ingest-2", "other")
    assert [path.name for path in tmp_path.glob("ingest-*")] == ["ingest-2"]
    (tmp_path / "digests.json").write_text("{}")
    remove_stores(str(tmp_path))
    assert os.listdir(tmp_path) == ["digests.json"]
    remove_stores(str(tmp_path / "nowhere"))


def test_the_last_of_two_equal_ingests_removes_their_shards(tmp_path):
    with _hold(tmp_path, "ingest-1") as first:
        with held_store(str(tmp_path), "", "ingest-1") as store:
            Path(store.folder, "shard").write_text("ours")
        assert Path(store.folder, "shard").read_text() == "ours"
        remove_stores(str(tmp_path))
        _fail(tmp_path, "ingest-2", "")
        assert Path(store.folder, "shard").exists()  # nobody else removes it, either
        first.communicate()
        assert first.returncode == 0
    assert [path.name for path in tmp_path.glob("ingest-*")] == ["ingest-2"]


def test_a_killed_ingest_holds_nothing(tmp_path):
    with _hold(tmp_path, "ingest-1") as killed:
        killed.kill()
        killed.communicate()
    assert (tmp_path / "ingest-1").exists()
    with held_store(str(tmp_path), "", "ingest-1"):
        pass
    assert not os.listdir(tmp_path)


def test_without_a_work_folder_shards_lie_beside_the_output(tmp_path):
    with held_store("", str(tmp_path), "ingest-1") as store:
        os.makedirs(store.folder)
    assert store.folder == str(tmp_path / "ingest-1")
    assert not os.listdir(tmp_path)
