"""Folders that no killed process leaves behind, whatever killed it."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from arcface_common.aside import file_aside, folder_aside, private_folder, temporary_files_aside
from arcface_common.errors import DataError
from tests.helpers import ROOT

_WRITES = """
import signal, sys, time
from pathlib import Path
from arcface_common import aside
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
with aside.{maker} as folder:
    Path(folder, "face.jpg").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(60)
"""


def _at_work(maker: str, *arguments: Path) -> tuple[subprocess.Popen, Path]:
    """A process that has written into such a folder, and the folder."""
    command = [sys.executable, "-c", _WRITES.format(maker=maker), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return process, Path(process.stdout.readline().rstrip("\n"))


def _end(process: subprocess.Popen, how: int) -> None:
    process.send_signal(how)
    process.communicate()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_private_folder_goes_with_its_process(how):
    process, folder = _at_work("private_folder()")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "face.jpg").exists()
    _end(process, how)
    deadline = time.monotonic() + 60
    while folder.exists():
        assert time.monotonic() < deadline, f"{folder} is still there"
        time.sleep(0.05)


_LEAVES = """
import subprocess, sys, tempfile, time
from arcface_common import aside
with aside.temporary_files_aside():
    of_a_child = "import tempfile; tempfile.mkdtemp()"
    subprocess.run([sys.executable, "-c", of_a_child], check=True)
    print(tempfile.NamedTemporaryFile(prefix="__autograph_generated_file", delete=False).name, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_libraries_leave_goes_with_a_killed_process(how, tmp_path):
    command = [sys.executable, "-c", _LEAVES]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    left = Path(process.stdout.readline().rstrip("\n"))
    assert left.exists()
    assert len(os.listdir(left.parent)) == 2
    assert left.parent.parent == tmp_path
    _end(process, how)
    deadline = time.monotonic() + 60
    while os.listdir(tmp_path):
        assert time.monotonic() < deadline, f"{os.listdir(tmp_path)} are still there"
        time.sleep(0.05)


def test_temporary_files_are_put_aside_for_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_files_aside():
        assert Path(tempfile.mkdtemp()).parent.parent == tmp_path
    assert tempfile.gettempdir() == str(tmp_path)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("given", "ours"),
    [({"HOME": "/proc"}, True), ({"MPLCONFIGDIR": "/proc/none"}, True), ({}, False), ({"MPLCONFIGDIR": ""}, False)],
)
def test_matplotlib_has_a_folder_that_it_need_not_remove(given, ours, tmp_path):
    code = """
import os
from arcface_common import aside
with aside.temporary_files_aside():
    import matplotlib
    print(matplotlib.get_configdir(), matplotlib.get_cachedir())
"""
    about_it = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR")
    environment = {name: value for name, value in os.environ.items() if name not in about_it}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), **given}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    assert done.stderr == ""
    config, cache = (os.path.relpath(path, tmp_path) for path in done.stdout.split())
    if ours:
        assert config == cache and config.startswith("arcface-tfx-") and config.endswith(".tmp/matplotlib")
    else:
        assert (config, cache) == (".config/matplotlib", ".cache/matplotlib")


def test_the_next_private_folder_removes_one_whose_remover_was_killed_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process, left = _at_work("private_folder()")
    [remover] = psutil.Process(process.pid).children()
    remover.kill()
    _end(process, signal.SIGKILL)
    assert left.exists()
    other, used = _at_work("private_folder()")
    assert not left.exists()
    with private_folder() as folder:
        assert sorted(os.listdir(tmp_path)) == sorted([used.name, os.path.basename(folder)])
    _end(other, signal.SIGTERM)


def test_a_private_folder_goes_with_its_body():
    with pytest.raises(KeyError), private_folder() as folder:
        os.mkdir(os.path.join(folder, "sub"))
        raise KeyError
    assert not os.path.exists(folder)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    out = tmp_path / "out [1]"
    process, left = _at_work("folder_aside(Path(sys.argv[1]))", out)
    _end(process, signal.SIGKILL)
    others = [tmp_path / ".out.123.partial", tmp_path / ".out [1].json", tmp_path / ".out [1].x.partial"]
    for other in others[:2]:
        other.mkdir()
    others[2].symlink_to(others[0])
    assert left.exists()
    with folder_aside(out) as partial:
        assert not left.exists()
        (partial / "a").write_text("a")
    assert (out / "a").exists()
    assert sorted(os.listdir(tmp_path)) == sorted([out.name, *(other.name for other in others)])


def test_what_another_process_writes_stays(tmp_path):
    process, folder = _at_work("folder_aside(Path(sys.argv[1]))", tmp_path / "out")
    try:
        with folder_aside(tmp_path / "out") as partial:
            assert partial != folder
            assert (folder / "face.jpg").exists()
    finally:
        _end(process, signal.SIGKILL)
    assert not partial.exists()


def test_who_is_later_is_told(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(
        DataError, match="out: expected a folder that doesn't exist yet. Received: one that another pro"
    ):
        with folder_aside(out), folder_aside(out) as first:
            (first / "a").write_text("a")
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(out) == ["a"]
    with folder_aside(out, replace=True) as second:
        (second / "b").write_text("b")
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(out) == ["b"]


def test_a_failure_leaves_nothing_and_what_was_there(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyError), folder_aside(tmp_path / "out", replace=True) as partial:
        (partial / "a").write_text("a")
        raise KeyError
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_aside_has_the_usual_mode(tmp_path):
    usual = tmp_path / "usual"
    usual.mkdir()
    with folder_aside(tmp_path / "below" / "out") as partial:
        assert partial.stat().st_mode == usual.stat().st_mode


def test_a_file_aside_takes_its_name_when_it_is_whole(tmp_path):
    out = tmp_path / "below" / "out.csv"
    for text in ("first", "second"):
        with file_aside(out) as aside:
            assert aside.name == out.name  # a writer may go by the ending
            aside.write_text(text)
        assert out.read_text() == text
    with pytest.raises(KeyError), file_aside(out) as aside:
        aside.write_text("third")
        raise KeyError
    assert out.read_text() == "second"
    assert os.listdir(out.parent) == ["out.csv"]


def test_a_file_aside_follows_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    link = tmp_path / "near.json"
    link.symlink_to("far/it.txt")
    for content in ("new", "newer"):
        with file_aside(link) as aside:
            assert aside.name == "near.json"
            aside.write_text(content)
        assert os.readlink(link) == "far/it.txt"
        assert (tmp_path / "far" / "it.txt").read_text() == content
    assert sorted(os.listdir(tmp_path)) == ["far", "near.json"]
    assert os.listdir(tmp_path / "far") == ["it.txt"]


def test_a_folder_that_is_replaced_may_be_a_links(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to("far")
    with folder_aside(tmp_path / "near", replace=True) as aside:
        (aside / "it").write_text("new")
    assert os.readlink(tmp_path / "near") == "far"
    assert (tmp_path / "far" / "it").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["far", "near"]


def test_the_longest_name_that_the_file_system_takes_can_be_written(tmp_path):
    for name in ("n" * 255, "é" * 127):
        with file_aside(tmp_path / name) as aside:
            aside.write_text("x")
        assert (tmp_path / name).read_text() == "x"


def test_what_a_killed_writer_left_of_a_file_goes_with_the_next(tmp_path):
    code = (
        "import os, pathlib, sys; from arcface_common.aside import file_aside\n"
        "with file_aside(pathlib.Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out.csv")], check=False)
    assert [name.endswith(".partial") for name in os.listdir(tmp_path)] == [True]
    with file_aside(tmp_path / "out.csv") as aside:
        aside.write_text("whole")
    assert os.listdir(tmp_path) == ["out.csv"]


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left on device: .*out.csv"), file_aside(tmp_path / "out.csv"):
        with open("/dev/full", "w", buffering=1) as full:
            full.write("a line\n")
