"""Signals that end this process by an exception, so that folders go and processes end: one of them, however many come.

Standard library only, and little of that: it is imported before all else.
"""

import os
import signal
import time
from types import FrameType
from typing import NoReturn

_PATIENCE_S = 1.0  # a key that bounces, and `timeout`, which signals a process and then its group
INTERRUPTED = 130  # a shell's exit code for Ctrl-C
_since: float | None = None  # when a signal began to end this process


def unwind(error: BaseException) -> bool:
    """Raises an error, unless one was raised so before: a second one would cut short what the first has cleaned up.

    Args:
      error: what the first signal raises.

    Returns:
      Whether this process is to end at once: the first signal came more than a second ago, or was lost in a library.
    """
    global _since
    now = time.monotonic()
    if _since is None:
        _since = now
        raise error
    return now - _since > _PATIENCE_S


def begin_anew() -> None:
    """Forgets earlier signals: what they ended was a command, or a part of a program that goes on."""
    global _since
    _since = None


def end_at_once(console: int | None) -> NoReturn:
    """Ends this process, with a word to a descriptor, or without one.

    Args:
      console: the descriptor; None where it was said before.
    """
    try:
        if console is not None:
            os.write(console, b"interrupted\n")
    except OSError:  # nobody reads
        pass
    os._exit(INTERRUPTED)


def leave(number: int, frame: FrameType | None) -> None:
    """Handles Ctrl-C where there is nothing to clean up: an exception may become another one amid an import."""
    end_at_once(2)


def is_default() -> bool:
    """Whether Ctrl-C does what Python does of itself, or leaves; a job in the background ignores it."""
    return signal.getsignal(signal.SIGINT) in (signal.default_int_handler, leave)
