"""Child processes that end with their parent. Standard library only."""

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from arcface_common import interrupts

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent ends, be it by SIGKILL, which leaves a parent no time to do so.

    To be precise, when the thread that started this process ends: that thread must wait for it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def sigterm_unwinds(*others: signal.Signals) -> Iterator[None]:
    """Meanwhile SIGTERM ends this process as `sys.exit(143)` does: processes it started are ended, folders removed.

    In the main thread alone, and where nobody else handles the signal: elsewhere nothing changes. What is ignored stays
    so, as `nohup` has it. Others within a second are as one: `timeout` sends two. A later one ends the process at once.

    Args:
      others: signals that do likewise, with a shell's exit code for them.
    """
    main = threading.current_thread() is threading.main_thread()
    ours = [one for one in (signal.SIGTERM, *others) if main and signal.getsignal(one) is signal.SIG_DFL]
    try:
        if ours:
            interrupts.begin_anew()
        for one in ours:
            signal.signal(one, _unwind)
        yield
    finally:
        for one in ours:
            signal.signal(one, signal.SIG_DFL)


def _unwind(number: int, frame: FrameType | None) -> None:
    if interrupts.unwind(SystemExit(128 + number)):
        os._exit(128 + number)
