"""How long finished shards are kept for another try: who uses a `ShardStore`, and who removes it.

A store lives until its ingest has ended well. That of an ingest that failed or was killed is found again by the same
ingest; else it goes when another ingest begins in the same work folder, and when a run there has ended well. On another
file system nobody can tell whether a store is in use: there each try has its own, and goes after a week.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from arcface_common import filesystem
from arcface_common.console import say
from components.content_digest import InputChangedError
from components.record_example_gen.shards import ShardStore

_PREFIX = "ingest-"
_IN_USE = "in-use"
_REMOTE_SECONDS = 7 * 24 * 3600.0


def store_name(digest: str, code_version: str, options: dict[str, Any]) -> str:
    """Name of the folder of an ingest's shards: another one for other input, code or settings."""
    key = json.dumps([digest, code_version, options], sort_keys=True)
    return _PREFIX + hashlib.sha256(key.encode()).hexdigest()[:16]


@contextlib.contextmanager
def held_store(work: str, out: str, name: str) -> Iterator[ShardStore]:
    """The store of an ingest, for as long as it works; removed if the body ends well and no equal ingest uses it.

    It goes, too, where the input has changed meanwhile: its shards are of no one state of the files.

    Args:
      work: folder that outlives a run; "" for none.
      out: folder of the Examples artifact.
      name: see `store_name`.
    """
    if work and filesystem.is_local(work):
        remove_stores(work, keep=name)
        folder = os.path.join(work, name)
        with _shared(folder) as in_use, _used_up(lambda: _remove_unused(folder, in_use)):
            yield ShardStore(folder)
        return
    if work:
        _remove_old(work)
        name = f"{name}-{hashlib.sha256(out.encode()).hexdigest()[:8]}"  # a second try has the same output folder
    store = ShardStore(os.path.join(work or out, name))
    filesystem.remove([store.failed])
    with _used_up(lambda: filesystem.remove_folder(store.folder)):
        yield store


@contextlib.contextmanager
def _used_up(remove: Callable[[], None]) -> Iterator[None]:
    """Removes a store after a body that ends well, or finds other input: other errors leave it to another try."""
    try:
        yield
    except InputChangedError:
        remove()
        raise
    remove()


def remove_stores(work: str, keep: str = "") -> None:
    """Removes the stores in a local work folder that nobody uses; says which one can't be.

    Args:
      work: the folder; it need not be there.
      keep: name of one that stays.
    """
    for name in _stores(work):
        if name != keep:
            folder = os.path.join(work, name)
            try:
                with open(os.path.join(folder, _IN_USE), "ab") as in_use:
                    _remove_unused(folder, in_use)
            except OSError as error:
                say(f"WARNING {folder}: shards of an unfinished ingest can't be removed: {error.strerror}")


def unused_stores(work: str) -> list[str]:
    """Names of the stores in a local work folder that nobody uses."""
    return [name for name in _stores(work) if not _is_in_use(os.path.join(work, name))]


def _stores(work: str) -> list[str]:
    """Names of the folders in a local work folder that are stores."""
    if not os.path.isdir(work):
        return []
    return sorted(entry.name for entry in os.scandir(work) if entry.name.startswith(_PREFIX) and entry.is_dir())


def _is_in_use(folder: str) -> bool:
    """Whether an ingest holds a store."""
    path = os.path.join(folder, _IN_USE)
    if not os.path.exists(path):
        return False
    with open(path, "rb") as in_use:
        try:
            fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def _shared(folder: str) -> Iterator[BinaryIO]:
    """Marks a local store as used, by a lock that ends with the process. The first user clears what a try has left."""
    while True:
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, _IN_USE), "ab") as in_use:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                filesystem.remove([ShardStore(folder).failed])
            fcntl.flock(in_use, fcntl.LOCK_SH)
            if _is(in_use, folder):
                yield in_use
                return


def _is(in_use: BinaryIO, folder: str) -> bool:
    """Whether the open file is still that of the folder, which somebody may have removed meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(in_use.fileno()), os.stat(os.path.join(folder, _IN_USE)))
    return False


def _remove_unused(folder: str, in_use: BinaryIO) -> None:
    """Removes a store unless somebody else uses it; who begins now makes a new one."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        aside = f"{folder}.{uuid.uuid4().hex}"
        os.rename(folder, aside)
        filesystem.remove_folder(aside)


def _remove_old(work: str) -> None:
    """Removes the stores on another file system to which nothing was written for a week."""
    newest: dict[str, float] = {}
    for path, changed in filesystem.times_below(work).items():
        name = path[len(work.rstrip("/")) + 1 :].partition("/")[0]
        if name.startswith(_PREFIX):
            newest[name] = max(changed, newest.get(name, 0.0))
    for name, changed in newest.items():
        if time.time() - changed > _REMOTE_SECONDS:
            filesystem.remove_folder(f"{work.rstrip('/')}/{name}")
