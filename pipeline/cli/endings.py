"""How every command ends: bad input in one line with exit code 2, a failure in one line that names its log, with 1."""

import contextlib
import errno
import os
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import click

from arcface_common import interrupts
from arcface_common.console import console, say
from arcface_common.errors import DataError, in_short, typed_arguments, without_bytes
from pipeline.surroundings import check_surroundings, settle

# What an operation on a file can meet that is no fault of what a person wrote.
_MACHINES_FAULTS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)
_interrupted = threading.Event()
_told = threading.Event()  # that it was


class Commands(click.Group):
    """A group of commands none of which ends in a traceback, wherever it was raised."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Parses and runs, in settled surroundings."""
        settle()
        with _noted_interrupts(), typed_arguments(), ends_in_words():  # help is written while arguments are parsed
            return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parses what stands before a command; of Ctrl-C meanwhile click says that it aborted."""
        with ends_in_words():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Parses a command's own arguments and runs it."""
        with ends_in_words():
            check_surroundings()
            return super().invoke(ctx)


@contextlib.contextmanager
def ends_in_words(log: str | None = None) -> Iterator[None]:
    """Ends the process with one line and an exit code, whatever the body raises.

    | raised | line | code |
    |---|---|---|
    | DataError, or an OSError about a path | `error: ...` | 2 |
    | Ctrl-C | `interrupted` | 130 |
    | an OSError of the machine's, such as a full disk | `failed: PATH: ...` | 1 |
    | anything else | `failed: ...`, then the log with the traceback | 1 |

    Args:
      log: of the run, where the traceback is written; a new temporary file if None.
    """
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            raise  # `presets | head -1`: click ends quietly
        sys.exit(_said(error, log))


@contextlib.contextmanager
def _noted_interrupts() -> Iterator[None]:
    """Remembers Ctrl-C: what it stops may raise an error of its own, as TensorFlow's tracing does (a KeyError)."""
    _interrupted.clear()
    _told.clear()
    if threading.current_thread() is not threading.main_thread() or not interrupts.is_default():
        yield
        return
    interrupts.begin_anew()
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as ended:
        if isinstance(ended, KeyboardInterrupt):  # before or after all that says so
            _say_interrupted()
        elif ended.code != interrupts.INTERRUPTED:
            raise
        _leave_threads()
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C: unwinds. One that comes a second later ends the process, whatever it is at; nobody catches it there."""
    _interrupted.set()
    if interrupts.unwind(KeyboardInterrupt()):
        interrupts.end_at_once(None if _told.is_set() else console().fileno())


def _say_interrupted() -> None:
    _told.set()
    say("interrupted")


def _leave_threads() -> NoReturn:
    """Ends the process: Beam's threads would be waited for, until their part of the images is computed, 10 s and more.

    All that a command cleans up is done by now, and what threads write lies aside, as after a kill. What the stack held
    isn't let go: TensorFlow waits 10 s for a training's input that way.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(interrupts.INTERRUPTED)


def _said(error: BaseException, log: str | None) -> int:
    """Says how a command ended; the exit code."""
    if isinstance(error, OSError) and error.filename is None and _was_printed(error):
        error.filename = "standard output"
    if log is not None:
        sys.stderr.write(without_bytes(traceback.format_exc()))  # among the libraries' words, which explain it
    if _is_interrupt(error) or (_interrupted.is_set() and not isinstance(error, DataError)):
        _say_interrupted()
        return interrupts.INTERRUPTED
    if isinstance(error, DataError):
        say(f"error: {error}")
        return 2
    if isinstance(error, OSError) and error.filename is not None and error.errno not in _MACHINES_FAULTS:
        path = os.fsdecode(error.filename)
        say(f"error: {path}: expected a path that can be used. Received: {error.strerror}")
        return 2
    if isinstance(error, OSError) and error.filename is not None:
        say(f"failed: {os.fsdecode(error.filename)}: {(error.strerror or 'not usable').lower()}")
        if log is None:  # nothing that a traceback would explain, and where it went may be full
            return 1
    else:
        say(f"failed: {type(error).__name__}: {in_short(error)}")
    try:
        say(f"log: {_written(log)}")
    except OSError as unwritten:  # a full disk, or a limit on files, which may be what failed before
        say(f"log: expected to write one. Received: {unwritten.strerror}")
    return 1


def _was_printed(error: BaseException) -> bool:
    """Whether what raised it was printing for whoever runs the command."""
    return any(frame.f_code is click.echo.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


def _written(log: str | None) -> str:
    """Appends the traceback to the log, or to a new file that its owner alone reads; the path."""
    if log is None:
        file, log = tempfile.mkstemp(prefix="arcface-tfx-", suffix=".log")
        os.close(file)
    with open(log, "a", errors="backslashreplace") as written:
        written.write(without_bytes(traceback.format_exc()))
    return log


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: Beam raises an exception of its own from the one that ends a step."""
    return any(isinstance(one, KeyboardInterrupt) for one in _behind(error))


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised from or in the handling of."""
    seen: list[BaseException] = []  # a library may raise an error from itself
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that its reader has closed."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
