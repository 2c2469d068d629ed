"""Set-up as a command, on a tree whose one environment holds a tiny package."""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tools import setup

ROOT = Path(setup.__file__).resolve().parent.parent
_SECONDS = 120


@pytest.fixture
def tree(tmp_path):
    """A copy of what set-up needs: its code, a lock for .venv-mxnet of one package, and a current .venv-tools."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "tools", tree / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "requirements", tree / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tree)
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "VALUE = 7\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tree / "requirements" / "mxnet.lock").write_text(f"tiny @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    shutil.copytree(ROOT / ".venv-tools", tree / ".venv-tools", symlinks=True)
    setup._write_stamp("tools", tree, setup.digest("tools", tree))
    return tree


def _start(tree):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    # Debian's python3 may be another; what the tests run on is a Python 3.11 for sure.
    environment["ARCFACE_TFX_PYTHON"] = sys._base_executable
    command = [sys.executable, "-m", "tools.setup", "mxnet"]
    return subprocess.Popen(command, cwd=tree, env=environment, stderr=subprocess.PIPE, text=True)


def _finish(process):
    said = process.communicate(timeout=_SECONDS)[1]
    assert process.returncode == 0, said
    return said


def _until(condition):
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _waits(process):
    """Whether it waits for a lock."""
    return f" -> FLOCK  ADVISORY  WRITE {process.pid} " in Path("/proc/locks").read_text()


def _value(tree):
    command = [str(tree / ".venv-mxnet" / "bin" / "python"), "-c", "import tiny; print(tiny.VALUE)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_second_time_costs_nothing_and_says_nothing(tree):
    assert "set-up: .venv-mxnet (mxnet)" in _finish(_start(tree))
    assert _value(tree) == "7\n"
    assert setup.is_current("mxnet", tree)
    assert _finish(_start(tree)) == ""


def test_an_environment_for_another_c_library_is_made_anew(tree, monkeypatch):
    _finish(_start(tree))
    monkeypatch.setattr(setup, "glibc", lambda: "glibc 2.99")
    assert not setup.is_current("mxnet", tree)


def test_two_at_a_time_wait_for_each_other_and_install_once(tree):
    lock = os.open(tree, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    both = [_start(tree), _start(tree)]
    _until(lambda: all(map(_waits, both)))
    assert not (tree / ".venv-mxnet").exists()
    os.close(lock)
    said = "".join(map(_finish, both))
    assert said.count("set-up: .venv-mxnet (mxnet)") == 1
    assert _value(tree) == "7\n"


def test_one_that_is_killed_in_the_middle_starts_over(tree):
    uv = tree / ".venv-tools" / "bin" / "uv"
    real = uv.rename(uv.with_name("real-uv"))
    # Installs, then hangs: packages are there, and nobody knows whether all of them.
    hang = f'echo $$ > "{tree}/pid.part"; mv "{tree}/pid.part" "{tree}/pid"; exec sleep 300'
    uv.write_text(f'#!/bin/sh\n"{real}" "$@" || exit 1\ncase "$*" in *sync*) {hang};; esac\n')
    uv.chmod(0o755)
    process = _start(tree)
    _until((tree / "pid").exists)
    orphan = int((tree / "pid").read_text())
    try:
        process.kill()
        process.wait()
        process.stderr.close()
        assert not setup.is_current("mxnet", tree)
        half = next((tree / ".venv-mxnet").glob("lib/python3.11/site-packages")) / "tiny.py"
        half.unlink()  # uv's cache has the file by another name
        half.write_text("VALUE = 'half")  # as a file looks whose writing was cut short
        real.rename(uv)
        # Its uv is still at it: the next set-up waits for that one, too.
        following = _start(tree)
        _until(lambda: _waits(following) or following.poll() is not None)
        assert following.returncode is None
    finally:
        os.kill(orphan, signal.SIGKILL)
    _finish(following)
    assert _value(tree) == "7\n"
    assert setup.is_current("mxnet", tree)
