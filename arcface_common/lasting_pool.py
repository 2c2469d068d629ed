"""Processes that work for this one and end with it, whichever of them gets which signal. Standard library only."""

import atexit
import contextlib
import multiprocessing.context
import multiprocessing.process
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection, resource_tracker
from typing import Any

from arcface_common.processes import die_with_parent

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AHEAD = 8  # tasks a process, by which others go on while one takes longer; their results wait in memory


class ProcessLostError(RuntimeError):
    """A process ended in the middle of its work."""


class LastingPool:
    """What `lasting_pool` yields.

    The executor of the standard library keeps all tasks in memory, and a signal to all processes of a group can leave
    its thread waiting for a pipe that nobody reads.
    """

    def __init__(self, processes: int, context: multiprocessing.context.BaseContext, left: str) -> None:
        """See `lasting_pool`."""
        self._wanted, self._context, self._left = processes, context, left
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._pipes: list[connection.Connection] = []

    def begin(self) -> None:
        """Starts the processes."""
        if self._context.get_start_method() == "spawn":
            resource_tracker.ensure_running()  # else the first process starts it, and lets signals through meanwhile
        with _signals_later():
            try:
                for _ in range(self._wanted):
                    ours, theirs = self._context.Pipe()
                    self._pipes.append(ours)
                    with theirs:
                        process = self._context.Process(target=_work, args=(theirs,))  # type: ignore[attr-defined]
                        process.start()
                    self._processes.append(process)
            except OSError as error:
                raise self._lost() from error

    def end(self) -> None:
        """Ends the processes, which have nothing to clean up: their work is given back, or lies aside."""
        with _signals_later():
            for process in self._processes:
                process.kill()
            for process in self._processes:
                process.join()
            for pipe in self._pipes:
                pipe.close()

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        """What a function makes of each task, in their order. Tasks are taken as they are needed.

        Args:
          function: of a module, as `pickle` wants it.
          tasks: its arguments.

        Raises:
          ProcessLostError: see `lasting_pool`.
          Exception: what the function raises.
        """
        numbered = enumerate(tasks)
        idle, busy = list(self._pipes), dict[connection.Connection, int]()
        made: dict[int, Any] = {}
        next_one = next(numbered, None)
        wanted = 0
        while True:
            while idle and next_one is not None and next_one[0] < wanted + _AHEAD * len(self._pipes):
                pipe = idle.pop()
                busy[pipe], task = next_one
                with self._said_if_lost():
                    pipe.send((function, task))
                next_one = next(numbered, None)
            if not busy:
                return
            answered = connection.wait(list(busy))
            for pipe in [one for one in busy if one in answered]:
                with self._said_if_lost():
                    well, result = pipe.recv()
                if not well:
                    raise result
                made[busy.pop(pipe)] = result
                idle.append(pipe)
            while wanted in made:
                yield made.pop(wanted)
                wanted += 1

    @contextlib.contextmanager
    def _said_if_lost(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise self._lost() from error

    def _lost(self) -> ProcessLostError:
        return ProcessLostError(
            f"one of {self._wanted} processes could not begin or was killed, for want of memory perhaps. {self._left}"
        )


@contextlib.contextmanager
def lasting_pool(processes: int, context: multiprocessing.context.BaseContext, left: str) -> Iterator[LastingPool]:
    """Processes that do what they are given, end with this one, and of which none is missed in silence.

    Args:
      processes: how many.
      context: how they start.
      left: what an error says of the work that is done until then.

    Raises:
      ProcessLostError: one was killed or could not begin; multiprocessing's own pool would wait for it for ever.
    """
    pool = LastingPool(processes, context, left)
    atexit.register(pool.end)  # before multiprocessing waits for them: a signal can come anywhere
    try:
        pool.begin()
        yield pool
    finally:
        pool.end()
        atexit.unregister(pool.end)


def _work(pipe: connection.Connection) -> None:
    """In a process of the pool. Signals are this one's parent's, which ends it."""
    die_with_parent()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    while True:
        try:
            function, task = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, function(task)
        except Exception as error:
            error.add_note(traceback.format_exc())
            answer = False, _sendable(error)
        pipe.send(answer)


def _sendable(error: Exception) -> Exception:
    """An error as it is, or in words where it can't be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a user's own class raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Has signals wait for the end of the body, in whose middle an exception would leave a process unknown.

    A process that is started meanwhile begins with them blocked.
    """
    came: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    heard = [one for one in _SIGNALS if main and callable(signal.getsignal(one))]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # other threads, such as numpy's, may still get them
    before = {one: signal.signal(one, lambda number, frame: came.append(number)) for one in heard}
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for one, handler in before.items():
            signal.signal(one, handler)
        for number in came:
            signal.raise_signal(number)
