"""What a shell hands to a command, and the command is not changed by."""

import os
import subprocess
import sys
import time

import pytest

from tests.processes import cli, python


@pytest.mark.parametrize("name", ["TF_XLA_FLAGS", "XLA_FLAGS"])
def test_flags_that_may_end_tensorflow_are_named_first(name):
    result = cli("presets", env={**os.environ, name: "--xla_no_such_flag=1"})
    assert result.returncode == 0, result.stderr
    assert f"{name}='--xla_no_such_flag=1' is set: of a flag that it doesn't know, TensorFlow ends" in result.stderr
    assert cli("presets").stderr == ""


def test_the_working_folder_was_removed(tmp_path):
    removed = tmp_path / "removed"
    removed.mkdir()
    code = f"import os; os.chdir({str(removed)!r}); os.rmdir({str(removed)!r}); from pipeline.cli import main; main()"
    result = python(["-c", code, "presets"])
    assert result.returncode == 2
    assert "expected a working folder that exists" in result.stderr


@pytest.mark.parametrize("raised", ["KeyError('x')", "DataError('bad input')"])
def test_an_error_that_ctrl_c_caused_is_an_interruption(raised):
    """TensorFlow's tracing answers Ctrl-C with a KeyError of its own, in which the interruption isn't to be seen."""
    code = f"""
import os, signal, click
from arcface_common.errors import DataError
from pipeline.cli.endings import Commands

@click.group(cls=Commands)
def cli(): pass

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
@cli.command()
def work():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except KeyboardInterrupt:
        pass
    raise {raised}

cli(["work"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, said) == ((130, "interrupted") if "Key" in raised else (2, "error: bad input"))


def test_an_interrupted_command_waits_for_no_thread_and_cleans_up_before(tmp_path):
    """Beam computes in threads, which Python waits for."""
    code = f"""
import os, signal, threading, time, click
from arcface_common.aside import folder_aside
from pathlib import Path
from pipeline.cli.endings import Commands

@click.group(cls=Commands)
def cli(): pass

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
@cli.command()
def work():
    with folder_aside(Path({str(tmp_path)!r}) / "out") as folder:
        (folder / "half").touch()
        threading.Thread(target=time.sleep, args=(30,)).start()
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()

cli(["work"])
"""
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert time.monotonic() - begun < 20
    assert not list(tmp_path.iterdir())


def test_tensorflow_computes_with_onednn_and_has_one_keras_unless_told_otherwise():
    """Left to itself it does the one only where the processor has AVX-512, and imports Keras 3 beside tf_keras."""
    told = ("TF_ENABLE_ONEDNN_OPTS", "TF_USE_LEGACY_KERAS")
    code = (
        "import sys\n"
        "from pipeline.surroundings import settle; settle()\n"
        "from tensorflow.python.util._pywrap_util_port import IsMklEnabled\n"
        "print(IsMklEnabled(), 'keras' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in told}
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=of).stdout.strip()
        for of in (environment, environment | dict.fromkeys(told, "0"))
    ]
    assert said == ["True False", "False True"]
