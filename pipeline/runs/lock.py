"""One run at a time in one root: two would share ML Metadata, the finished shards and the numbers of versions."""

import contextlib
import dataclasses
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from typing import Self

from arcface_common.console import say
from arcface_common.errors import DataError, argument
from arcface_common.paths import check_regular

LOCK_FILE = "run.lock"


@dataclasses.dataclass(frozen=True)
class Holder:
    """The run that holds a root.

    Attributes:
      pid: its process.
      host: where that runs.
      command: as it was typed.
      since: local time with its offset.
    """

    pid: int
    host: str
    command: str
    since: str

    @classmethod
    def here(cls) -> Self:
        """This process."""
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        return cls(os.getpid(), socket.gethostname(), typed_command(), since)

    def __str__(self) -> str:
        """In words."""
        return f"process {self.pid} on {self.host} since {self.since}: {self.command}"


def typed_command() -> str:
    """This process's command, for a shell."""
    name = os.path.basename(sys.argv[0])
    begin = ["python", "-m", "pipeline"] if name == "__main__.py" else [name]
    return shlex.join([*begin, *sys.argv[1:]])


@contextlib.contextmanager
def run_lock(root: str, wait: bool = False) -> Iterator[None]:
    """Holds a root for the time of a run; the lock ends with the process, whatever ends that.

    Args:
      root: a local folder; it is made.
      wait: wait for a run that holds it, instead of raising.

    Raises:
      DataError: another run holds it; says which, and since when. Or the file of the lock is a pipe, say.
    """
    os.makedirs(root, exist_ok=True)
    path = os.path.join(root, LOCK_FILE)
    if os.path.exists(path):
        check_regular(path)
    with contextlib.ExitStack() as held:
        # The folder is held, not the file in it: whoever removes that file, and many tidy up, lets nobody in. A network
        # file system that locks no folder (EBADF on NFS) has the file alone.
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        held.callback(os.close, folder)
        file = held.enter_context(open(path, "a+", encoding="utf-8"))
        for lock in (folder, file.fileno()):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _read(path)
                if not wait:
                    raise DataError(
                        f"{root}: expected no other run in this root ({argument('wait')} waits for its end). "
                        f"Received: {holder}"
                    ) from None
                say(f"waiting for the run that holds {root}: {holder}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                if lock is not folder:
                    raise
        file.truncate(0)
        file.write(json.dumps(dataclasses.asdict(Holder.here())))
        file.flush()
        yield


def _read(path: str) -> str:
    """Who holds the lock, in words."""
    try:
        with open(path, encoding="utf-8") as file:
            return str(Holder(**json.load(file)))
    except (ValueError, TypeError):  # between its lock and its words
        return f"a run that {LOCK_FILE} doesn't name yet, or no longer"
