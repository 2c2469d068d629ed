"""One run in a root: who holds it is named, and a lock ends with its process."""

import os
import subprocess
import sys
import threading

import pytest

from arcface_common.errors import DataError
from pipeline.runs.lock import LOCK_FILE, run_lock
from tests.helpers import ROOT

HOLD = """
import sys
from pipeline.runs.lock import run_lock
with run_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds `tmp_path / "root"` until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "root")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_says_who_holds_the_root_and_since_when(tmp_path, holder):
    said = rf"root: expected no other run in .*process {holder.pid} on \S+ since \d{{4}}-\d\d-\d\d .*: -c "
    with pytest.raises(DataError, match=said), run_lock(str(tmp_path / "root")):
        pass
    with run_lock(str(tmp_path / "another")):
        pass


def test_a_root_is_held_though_the_lock_s_file_is_removed(tmp_path, holder):
    (tmp_path / "root" / LOCK_FILE).unlink()
    with pytest.raises(DataError, match="root: expected no other run in this root"), run_lock(str(tmp_path / "root")):
        pass


def test_a_killed_run_holds_nothing(tmp_path, holder):
    holder.kill()
    holder.wait()
    with run_lock(str(tmp_path / "root")):
        assert f'"pid": {os.getpid()}' in (tmp_path / "root" / LOCK_FILE).read_text()


def test_a_run_waits_if_it_is_told_to(tmp_path, holder, capsys):
    begun = threading.Event()

    def wait():
        with run_lock(str(tmp_path / "root"), wait=True):
            begun.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not begun.wait(0.3)
    holder.communicate()
    waiting.join()
    assert begun.is_set()
    assert f"waiting for the run that holds {tmp_path / 'root'}: process {holder.pid} on" in capsys.readouterr().err


def test_a_lock_without_words_is_a_lock(tmp_path, holder):
    (tmp_path / "root" / LOCK_FILE).write_text("")
    with (
        pytest.raises(DataError, match="Received: a run that run.lock doesn't name yet"),
        run_lock(str(tmp_path / "root")),
    ):
        pass


def test_a_run_can_follow_another(tmp_path):
    for _ in range(2):
        with run_lock(str(tmp_path)):
            pass
