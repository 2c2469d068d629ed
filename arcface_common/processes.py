"""Child processes that end with their parent. Standard library only."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent ends, be it by SIGKILL, which leaves a parent no time to do so.

    To be precise, when the thread that started this process ends: that thread must wait for it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
