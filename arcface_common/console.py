"""What a person sees while a command works: progress bars, and nothing of the libraries' noise.

TensorFlow, absl and the C++ below them write to file descriptor 2 before any setting of theirs counts. So a command
points descriptor 2 at a log file once, and people are written to through a copy of the old one, whose number
travels to child processes in the environment.
"""

import contextlib
import errno
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from tqdm import tqdm

from arcface_common.errors import cut, without_bytes
from arcface_common.name_text import in_one_line
from arcface_common.run_log import note

# What a line begins with -> its colour on a terminal, in ANSI's numbers.
_COLOURS = {"WARNING": 33, "warning:": 33, "blessed": 32, "NOT blessed": 31}
CONSOLE_FD = "ARCFACE_TFX_CONSOLE_FD"
LOG = "ARCFACE_TFX_LOG"
_SECONDS_BETWEEN_SIGNS = 5.0  # of what can't be counted
_SECONDS_BETWEEN_LINES = 10.0  # where the console is no terminal, a bar becomes a line now and then
_LONGEST_LINE = 5000  # characters; 20 files with long names are listed in fewer
_stream: TextIO | None = None
_closed: set[int] = set()  # descriptors of this process that the shell had closed


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
            _closed.add(fd)
    for name, fd, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(fd, mode, closefd=False))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def output_is_closed() -> bool:
    """Whether the shell had closed standard output."""
    return 1 in _closed


class _Losing(io.TextIOWrapper):
    """A stream that outlives its reader: of a run all is in its log, too.

    A pager that is left, a `tee` that is killed and a closed terminal would end a night's training else.
    """

    def write(self, text: str) -> int:
        """Writes; from when nobody reads on, to nobody."""
        try:
            return super().write(text)
        except OSError as error:
            self._let_go(error)
            return len(text)

    def flush(self) -> None:
        """As `write`."""
        try:
            super().flush()
        except OSError as error:
            self._let_go(error)

    def _let_go(self, error: OSError) -> None:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise error
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, self.fileno())
        os.close(nobody)


def console() -> TextIO:
    """The text stream that a person reads: standard error as the command found it."""
    global _stream
    fd = os.environ.get(CONSOLE_FD)
    if fd is None:
        return sys.stderr
    if _stream is None or _stream.fileno() != int(fd):
        _stream = _Losing(open(int(fd), "wb", closefd=False), errors="backslashreplace", line_buffering=True)
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
    message = cut(without_bytes(in_one_line(message)), _LONGEST_LINE)
    note(message)
    stream = console()
    if is_live():
        tqdm.write(tinted(message, stream), file=stream)
    else:  # tqdm would write the bar's line once more
        stream.write(f"{tinted(message, stream)}\n")
        stream.flush()


def tinted(line: str, stream: TextIO) -> str:
    """A line as it goes to a stream: a verdict or a warning in colour where that is a terminal.

    Args:
      line: what is to be written.
      stream: where to. NO_COLOR (https://no-color.org) and TERM=dumb keep it plain.
    """
    colour = next((number for begins, number in _COLOURS.items() if line.startswith(begins)), None)
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return line if plain or colour is None else f"\x1b[{colour}m{line}\x1b[0m"


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Says at once what is being done while nothing can be counted, and now and then that it goes on.

    Imports take 5 to 20 s.

    Args:
      what: in a few words. On a terminal they go when it is done, and seconds are counted behind them; elsewhere they
        are a line, and another one every 5 s.
    """
    begun = time.monotonic()
    if not is_live():
        say(what)
        with _repeated(_SECONDS_BETWEEN_SIGNS, lambda: say(f"{what}: {time.monotonic() - begun:.0f} s so far")):
            yield
        return
    with (
        tqdm(desc=what, bar_format="{desc} ... {elapsed}", leave=False, file=console()) as bar,
        _repeated(1.0, bar.refresh),
    ):
        yield


@contextlib.contextmanager
def _repeated(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    """Acts every so many seconds, in a thread that ends with the body."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _LineBar(tqdm):
    """A bar for what is no terminal: each state on a line of its own, instead of overwriting the last one."""

    _written: float = -1  # units done at the last line

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """How tqdm writes a state."""

        def write_line(state: str) -> None:
            if state:
                file.write(f"{state}\n")
                file.flush()

        return write_line

    def display(self, *arguments: Any, **named: Any) -> Any:
        """Writes the state, unless that would repeat a line."""
        if self.n == self._written:
            return False
        self._written = self.n
        return super().display(*arguments, **named)

    def close(self) -> None:
        """Writes the last state of a bar that was seen; tqdm's own adds an empty line."""
        if not self.disable and self._written >= 0:
            self.display()
        self.last_print_t = 0  # tqdm takes it for a bar that never showed
        super().close()


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    description: str,
    unit: str,
    initial: int = 0,
    leave: bool = False,
    disable: bool = False,
    remaining: bool = True,
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
      remaining: show rate and remaining time; false where units take seconds and hours, and both would mislead.

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
        leave=leave,
        disable=disable,
        bar_format=None if remaining else "{desc}: {n_fmt}/{total_fmt}{unit} [{elapsed}{postfix}]",
        file=stream,
        mininterval=0.2 if live else _SECONDS_BETWEEN_LINES,
        delay=1.0 if live else _SECONDS_BETWEEN_LINES,
        # The clock alone says when: tqdm's own thread would write a line of its own beside one that is just due.
        miniters=None if live else 1,
        ascii=None if live else True,
        dynamic_ncols=live,
        smoothing=0.1 if live else 0,  # a line every 10 s shows the rate of all units so far
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


def begun_anew(bar: tqdm, units: int) -> None:
    """Counts units of a bar without their time: what the first ones take, such as making a graph, foretells nothing.

    Args:
      bar: which has counted none yet.
      units: that are done.
    """
    bar.initial = bar.n = bar.last_print_n = bar.n + units
    bar.unpause()
