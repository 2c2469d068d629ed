"""Commands in processes of their own that have their imports already: forks of one that made them once.

`python` and `cli` behave as `subprocess.run([sys.executable, ...])` would, at a tenth of a second in place of 6 (with
TensorFlow) to 16 (with TFX). What differs: nothing of the imports' noise is seen, and atexit handlers don't run. So a
few tests start the real thing: `tests/readme` every command, `tests/e2e/test_pipeline.py` its first run and the
workers of another, `tests/trainer_module/workers/test_workers.py` and `test_supervisor.py` all workers, and
`tests/e2e/test_beam_runners.py` those of a pool.
"""

import contextlib
import multiprocessing
import os
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from multiprocessing import connection
from pathlib import Path

from arcface_common.console import CONSOLE_FD
from arcface_common.processes import die_with_parent
from trainer_module.workers.heartbeat import HEARTBEAT

STOPS_AT_FIRST = "ARCFACE_TFX_TESTS_STOPS_AT_FIRST"  # the worker that stops (SIGSTOP) before it has done anything
# Sums in several threads may differ in the last digits, and so would two trainings.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
ROOT = Path(__file__).resolve().parent.parent
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


def cli(*arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m pipeline ARGUMENTS`, see `python`."""
    return python(["-m", "pipeline", *arguments], cwd=cwd, env=env)


def python(
    words: Sequence[str], cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `python WORDS` in a fork of a process that has imported TensorFlow and TFX, and waits for its end.

    Args:
      words: "-m", a module and its arguments, or "-c", code and its arguments.
      cwd: the working directory.
      env: all environment variables; this process's by default.

    Returns:
      Its exit code (minus the number of the signal that ended it) and what it wrote to either stream.
    """
    with Started(words, cwd, env) as process:
        return process.wait()


class Started(contextlib.ExitStack):
    """`python WORDS` as `python` runs it, while it runs; the end of the `with` kills it.

    Attributes:
      pid: its process.
    """

    def __init__(self, words: Sequence[str], cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._words = list(words)
        self._streams = [self.enter_context(tempfile.TemporaryFile()) for _ in range(2)]
        paths = [f"/proc/{os.getpid()}/fd/{stream.fileno()}" for stream in self._streams]
        environment = dict(os.environ if env is None else env)
        self._process = CONTEXT.Process(target=_become, args=(self._words, str(cwd), environment, *paths))
        self._process.start()
        self.callback(self._process.join)
        self.callback(self._process.kill)  # a test that ran out of time
        self.pid: int = self._process.pid

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Waits for its end, see `python`."""
        self._process.join()
        texts = []
        for stream in self._streams:
            stream.seek(0)
            texts.append(stream.read().decode())
        return subprocess.CompletedProcess(self._words, self._process.exitcode, *texts)


class Worker:
    """What a supervisor of workers asks of `subprocess.Popen`, by a fork: `[PYTHON, "-P", "-m", MODULE, ARGUMENTS...]`.

    Attributes:
      environment: its environment variables.
      pid: its process.
      stdout: what it writes to either stream.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: int,
        stdout: int,
        stderr: int,
        pass_fds: Sequence[int],
    ) -> None:
        assert (command[:3], stdin, stdout, stderr) == (
            [sys.executable, "-P", "-m"],
            *(subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT),
        )
        self.environment = dict(env)
        reader, writer = CONTEXT.Pipe(duplex=False)
        with contextlib.ExitStack() as passed:
            # By which the fork gets what is open itself: a file that is opened anew has another place to write at.
            kept = [connection.Connection(os.dup(descriptor), readable=False) for descriptor in pass_fds]
            for one in (reader, writer, *kept):
                passed.enter_context(one)
            told = (command[2:], os.getcwd(), self.environment, writer, kept)
            self._process = CONTEXT.Process(target=_become_worker, args=told)
            self._process.start()
            self.stdout = open(os.dup(reader.fileno()), "rb")
        self.pid: int = self._process.pid
        self.kill, self.terminate = self._process.kill, self._process.terminate

    def poll(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    def wait(self) -> int:
        """Waits for its end, see `poll`."""
        self._process.join()
        return self._process.exitcode


class BeamWorker:
    """What Beam asks of `subprocess.Popen` for a worker of this host, by a fork: the line `PYTHON -m MODULE`.

    Attributes:
      kill: ends it.
    """

    def __init__(self, command: str, *, shell: bool, env: Mapping[str, str]) -> None:
        interpreter, *words = shlex.split(command)
        assert (interpreter, words[0], shell) == (sys.executable, "-m", True)
        self._process = CONTEXT.Process(target=_run, args=(words, str(ROOT), dict(env)))
        self._process.start()
        self.kill = self._process.kill

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """See `returncode`."""
        return self.returncode

    def wait(self) -> int | None:
        """Waits for its end; see `returncode`."""
        self._process.join()
        return self.returncode


def _become_worker(
    words: list[str],
    cwd: str,
    environment: dict[str, str],
    output: connection.Connection,
    kept: list[connection.Connection],
) -> None:
    """In the fork, see `Worker`: `kept` are open files, of which the console alone is known by its number."""
    for one in kept:
        environment[CONSOLE_FD] = str(os.dup(one.fileno()))
    with output:
        os.dup2(output.fileno(), 1)
    os.dup2(1, 2)
    if environment[HEARTBEAT].endswith(environment.get(STOPS_AT_FIRST, "-")):
        os.kill(os.getpid(), signal.SIGSTOP)
    _run(words, cwd, environment)


def _become(words: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    """In the fork: turns this process into the one that was asked for."""
    for descriptor, path in ((1, out), (2, err)):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    _run(words, cwd, environment)


def _run(words: list[str], cwd: str, environment: dict[str, str]) -> None:
    die_with_parent()  # which ends with the tests
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    kind, what, *arguments = words
    sys.path.insert(0, cwd)
    sys.argv = [what if kind == "-m" else kind, *arguments]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), main.__dict__)
