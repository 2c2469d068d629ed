"""What a shell hands to a command, and the command is not changed by."""

import os
import signal
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
    """Beam computes in threads, which Python waits for; TensorFlow takes its time to let go of a training's input."""
    code = f"""
import os, signal, threading, time, click
from arcface_common.aside import folder_aside
from pathlib import Path
from pipeline.cli.endings import Commands

@click.group(cls=Commands)
def cli(): pass

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
class Slow:
    def __del__(self):
        time.sleep(30)

@cli.command()
def work():
    slow = Slow()
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


_CLEANS_UP = """
import os, signal, sys, threading, time, click
from pathlib import Path
from pipeline.cli.endings import Commands

@click.group(cls=Commands)
def cli(): pass

def send():
    time.sleep(0.2)
    for _ in range(int(sys.argv[2])):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(float(sys.argv[3]))

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
@cli.command()
def work():
    threading.Thread(target=send, daemon=True).start()
    try:
        time.sleep(60)
    finally:
        time.sleep(float(sys.argv[4]))
        Path(sys.argv[1]).touch()

cli(["work"])
"""


@pytest.mark.parametrize(
    ("times", "apart", "takes", "cleaned"),
    [(30, 0.03, 0.5, True), (2, 0.4, 0.6, True), (2, 1.3, 30, False)],
    ids=["many", "two", "a-second-later"],
)
def test_many_interrupts_are_as_one_and_a_late_one_ends_at_once(times, apart, takes, cleaned, tmp_path):
    words = [str(tmp_path / "cleaned"), *map(str, (times, apart, takes))]
    done = subprocess.run(
        [sys.executable, "-c", _CLEANS_UP, *words], capture_output=True, text=True, check=False, timeout=25
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert (tmp_path / "cleaned").exists() == cleaned


def test_interrupts_at_any_moment_of_a_command_are_a_word():
    """While it imports, parses, works and ends."""
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pipeline.__main__ import main\n"
        "print('ready', flush=True)\n"
        "main()\n"
    )
    call = [sys.executable, "-c", code, "settings"]
    ends = set()
    for moment in range(20, 600, 60):
        with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(moment / 1000)
            for _ in range(3):
                process.send_signal(signal.SIGINT)
                time.sleep(0.01)
            ends.add((process.wait(30), process.stderr.read()))
    assert (130, "interrupted\n") in ends
    assert ends <= {(130, "interrupted\n"), (0, ""), (-signal.SIGINT, "")}


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
