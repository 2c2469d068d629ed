"""Child processes that end with their parent. Standard library only."""

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent ends, be it by SIGKILL, which leaves a parent no time to do so.

    To be precise, when the thread that started this process ends: that thread must wait for it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with_parent_alone() -> None:
    """Begins a child process: it dies with its parent, and leaves Ctrl-C, which reaches all of a terminal, to that."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """Meanwhile SIGTERM ends this process as `sys.exit(143)` does: processes it started are ended, folders removed.

    In the main thread alone, and where nobody else handles the signal: elsewhere nothing changes.
    """
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
