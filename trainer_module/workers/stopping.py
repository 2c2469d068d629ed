"""Ctrl-C, SIGTERM and a closed terminal: a training's step ends, a checkpoint is written, and then the process ends."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from arcface_common.console import say

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stop_asked(*, listen: bool) -> Iterator[Callable[[], bool]]:
    """A function that says whether a signal has asked training to stop.

    It listens from its first call on, after the process's first step: before that there is nothing to keep, and the
    graph is made, which takes 14 s and more. The body leaves when it says so. Then the signal is sent again, to whoever
    handled it before. A second signal doesn't wait for that.

    Args:
      listen: whether signals are waited for at all; in other threads than the main one they can't be.

    Raises:
      KeyboardInterrupt: after the body, if it was asked to stop and whoever handles the signal lets the process go on.
    """
    asked: list[int] = []
    before: dict[signal.Signals, object] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        _restore(before)
        say("stopping after a step, with a checkpoint; once more stops at once")

    def stops() -> bool:
        if listen and not before and threading.current_thread() is threading.main_thread():
            # What is ignored stays so: a shell lets the jobs in its background ignore Ctrl-C.
            heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            before.update({number: signal.signal(number, ask) for number in heard})
        return bool(asked)

    try:
        yield stops
    finally:
        _restore(before)
    if asked:
        os.kill(os.getpid(), asked[0])
        raise KeyboardInterrupt  # a handler that returns must not pass for the end of a training


def _restore(before: dict[signal.Signals, object]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
