"""What a person sees while a command works: progress bars, and nothing of the libraries' noise.

TensorFlow, absl and the C++ below them write to file descriptor 2 before any setting of theirs counts. So a command
points descriptor 2 at a log file once, and people are written to through a copy of the old one, whose number
travels to child processes in the environment.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from tqdm import tqdm

from trainer_module.run_log import note

CONSOLE_FD = "ARCFACE_TFX_CONSOLE_FD"
LOG = "ARCFACE_TFX_LOG"
_SECONDS_BETWEEN_LINES = 10.0  # where the console is no terminal, a bar becomes a line now and then
_stream: TextIO | None = None


def open_standard_streams() -> None:
    """Makes descriptors 0, 1 and 2 and Python's streams usable, whatever the shell left.

    A closed descriptor's number would go to the next file that is opened, and that file would then receive what is
    printed. A stream whose encoding lacks a character (LC_ALL=C) shows its number in place of ending the program.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is this one
    for name, fd in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(fd, "w", closefd=False))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def console() -> TextIO:
    """The text stream that a person reads: standard error as the command found it."""
    global _stream
    fd = os.environ.get(CONSOLE_FD)
    if fd is None:
        return sys.stderr
    if _stream is None or _stream.fileno() != int(fd):
        _stream = os.fdopen(int(fd), "w", buffering=1, errors="backslashreplace", closefd=False)
    return _stream


def log_file() -> str | None:
    """The file that this command's noise is kept in, for what its child processes leave beside it; None if nowhere."""
    return os.environ.get(LOG)


def is_live() -> bool:
    """Whether the console is a terminal that a bar can be drawn on; one without a width (`script`, some CI) is not."""
    stream = console()
    return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0


def say(message: str) -> None:
    """Writes one line to the console, above a progress bar if there is one, and to the run's log."""
    note(message)
    tqdm.write(message, file=console())


class _LineBar(tqdm):
    """A bar for what is no terminal: each state on a line of its own, instead of overwriting the last one."""

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """How tqdm writes a state."""

        def write_line(state: str) -> None:
            if state:
                file.write(f"{state}\n")
                file.flush()

        return write_line


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    description: str,
    unit: str,
    initial: int = 0,
    leave: bool = False,
    disable: bool = False,
) -> tqdm:
    """A progress bar with rate and remaining time: a live bar on a terminal, a line every 10 s elsewhere.

    Nothing shows for work of less than 1 s (10 s where there is no terminal).

    Args:
      iterable: what to go through, or None to call `update` by hand.
      total: how many units there are, where `iterable` doesn't tell.
      description: what is being done, in a few words.
      unit: the noun of one unit, e.g. "img".
      initial: units done before this process started (a resumed run).
      leave: keep the bar's last state on the screen.
      disable: show nothing (a worker other than the chief).

    Returns:
      A tqdm bar: iterate over it, or use it as a context manager.
    """
    stream = console()
    live = is_live()
    return (tqdm if live else _LineBar)(
        iterable,
        total=total,
        desc=description,
        unit=f" {unit}",
        initial=initial,
        leave=leave or not live,  # erasing a line that was left is a terminal's art
        disable=disable,
        file=stream,
        mininterval=0.2 if live else _SECONDS_BETWEEN_LINES,
        delay=1.0 if live else _SECONDS_BETWEEN_LINES,
        ascii=None if live else True,
        dynamic_ncols=live,
        smoothing=0.1,
    )


@contextlib.contextmanager
def noise_to(path: str) -> Iterator[None]:
    """Sends everything that would reach standard error to a file, except what goes through `console`.

    Args:
      path: file to append to, readable by its owner alone where it is new, or `os.devnull`.
    """
    global _stream
    sys.stderr.flush()
    sink = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    saved = os.dup(2)
    os.set_inheritable(saved, True)
    outer = {name: os.environ.get(name) for name in (CONSOLE_FD, LOG)}
    os.dup2(sink, 2)
    os.close(sink)
    os.environ.setdefault(CONSOLE_FD, str(saved))
    if path != os.devnull:
        os.environ[LOG] = os.path.abspath(path)
    try:
        yield
    finally:
        sys.stderr.flush()
        for name, value in outer.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if outer[CONSOLE_FD] is None:
            _stream = None
        os.dup2(saved, 2)
        os.close(saved)
