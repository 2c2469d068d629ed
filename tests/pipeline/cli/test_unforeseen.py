"""What nobody foresaw, and whatever the shell does to the streams: one line, a code, and a log."""

import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT

_ODD = """
import sys
from pipeline import cli
@cli.main.command()
def odd(): {}['gone']
sys.argv[1:] = ['odd']
cli.main()
"""


def _odd(tmp_path, *before: str) -> subprocess.CompletedProcess[str]:
    """A command that fails as nobody foresaw."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*before, sys.executable, "-c", _ODD], capture_output=True, text=True, env=environment)


def test_what_nobody_foresaw_names_its_log(tmp_path):
    result = _odd(tmp_path)
    [log] = tmp_path.glob("arcface-tfx-*.log")
    assert (result.returncode, result.stderr) == (1, f"failed: KeyError: 'gone'\nlog: {log}\n")
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_where_no_log_can_be_written_that_is_said(tmp_path):
    result = _odd(tmp_path, "bash", "-c", 'ulimit -f 0; exec "$@"', "bash")
    told = "failed: KeyError: 'gone'\nlog: expected to write one. Received: No usable temporary directory found in ["
    assert (result.returncode, result.stderr.startswith(told)) == (1, True), result.stderr


@pytest.mark.parametrize(
    ("shell", "code", "told"),
    [
        ("presets | head -1 >/dev/null; exit ${PIPESTATUS[0]}", (0, 1), ""),
        ("presets >&-", (2,), "error: standard output: expected one to write to (`> /dev/null` throws the words "),
        ("embed . - <&-", (2,), "error: -: expected names of images on standard input. Received: none"),
        ("presets 2>&- <&-", (0,), ""),
        ("presets > /dev/full", (1,), "failed: standard output: no space left on device\n"),
        ("--help > /dev/full", (1,), "failed: standard output: no space left on device\n"),
        ("settings --json > /dev/full", (1,), "failed: standard output: no space left on device\n"),
        ("inspect ./nowhereü 2>&1 >&-", (2,), ""),
        ("run --data /nowhere 2>&-", (2,), ""),
        ("--no-such-option", (2,), "No such option"),
    ],
)
def test_whatever_the_shell_did_to_the_streams(shell, code, told, tmp_path):
    command = ["bash", "-c", f"{sys.executable} -m pipeline {shell}"]
    # No UTF-8 either.
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "COLUMNS": "0",
        "TMPDIR": str(tmp_path),
    }
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode in code
    assert told in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert not list(tmp_path.iterdir())
