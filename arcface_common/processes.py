"""Child processes that end with their parent. Standard library only."""

import concurrent.futures
import contextlib
import ctypes
import multiprocessing.context
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


class ProcessLostError(RuntimeError):
    """A process ended in the middle of its work."""


@contextlib.contextmanager
def lasting_pool(
    processes: int, context: multiprocessing.context.BaseContext, left: str
) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Processes that do what is submitted, end with this one, and of which none is missed in silence.

    Args:
      processes: how many.
      context: how they start.
      left: what an error says of the work that is done until then.

    Raises:
      ProcessLostError: one was killed or could not begin; multiprocessing's own pool would wait for it for ever.
    """
    pool = concurrent.futures.ProcessPoolExecutor(processes, context, end_with_parent_alone)
    try:
        yield pool
    except concurrent.futures.BrokenExecutor as error:
        raise ProcessLostError(
            f"one of {processes} processes could not begin or was killed, for want of memory perhaps. {left}"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def sigterm_unwinds(*others: signal.Signals) -> Iterator[None]:
    """Meanwhile SIGTERM ends this process as `sys.exit(143)` does: processes it started are ended, folders removed.

    In the main thread alone, and where nobody else handles the signal: elsewhere nothing changes. What is ignored stays
    so, as `nohup` has it.

    Args:
      others: signals that do likewise, with a shell's exit code for them.
    """
    main = threading.current_thread() is threading.main_thread()
    ours = [one for one in (signal.SIGTERM, *others) if main and signal.getsignal(one) is signal.SIG_DFL]
    try:
        for one in ours:
            signal.signal(one, lambda number, frame: sys.exit(128 + number))
        yield
    finally:
        for one in ours:
            signal.signal(one, signal.SIG_DFL)
