"""Which photos a folder holds, on whatever file system, and when each was last written."""

import dataclasses
import os
import posixpath
from pathlib import Path

from arcface_common import filesystem
from arcface_common.errors import DataError
from components.datasets.identity_folders import find_photos
from components.datasets.left_out import LeftOut, is_read, is_unread, left_by_tools


@dataclasses.dataclass(frozen=True)
class Photos:
    """What was found.

    Attributes:
      folder: the folder.
      names: path of each photo below it, with "/", sorted by folder, then by name.
      times: when each was last written, seconds since 1970.
      sizes: bytes of each; 0 on other file systems than the local one.
      left_out: lines about files that are no photos.
    """

    folder: str
    names: tuple[str, ...]
    times: tuple[float, ...]
    sizes: tuple[int, ...]
    left_out: tuple[str, ...]


def list_photos(folder: str) -> Photos:
    """Lists a folder of photos, or of one folder of photos an identity. What tools leave behind is left out.

    Args:
      folder: a local path, or one with a scheme; there, photos are known by their names alone.

    Raises:
      DataError: no such folder, no photo, or photos beside the folders of others.
    """
    if not filesystem.is_local(folder):
        return _list_remote(folder)
    found = find_photos(Path(folder))
    stats = [path.stat() for path in found.images]
    names = tuple(os.path.relpath(path, folder) for path in found.images)
    times, sizes = tuple(s.st_mtime for s in stats), tuple(s.st_size for s in stats)
    return Photos(folder, names, times, sizes, tuple(found.remarks()))


def _list_remote(folder: str) -> Photos:
    start = f"{folder.rstrip('/')}/"
    times = {path.removeprefix(start): time for path, time in filesystem.times_below(folder).items()}
    usable = {
        name: time
        for name, time in times.items()
        if name.count("/") <= 1 and is_read(posixpath.basename(name)) and not any(map(left_by_tools, name.split("/")))
    }
    left_out = _left_out(sorted(times.keys() - usable), {name.partition("/")[0] for name in usable})
    depths = {name.count("/") for name in usable}
    if len(depths) != 1:
        received = "photos beside folders of photos" if depths else left_out.received()
        raise DataError(
            f"{folder}: expected JPEG or PNG files, or one folder of them an identity. Received: {received}"
        )
    names = tuple(sorted(usable, key=lambda name: name.split("/")))
    return Photos(folder, names, tuple(usable[name] for name in names), (0,) * len(names), tuple(left_out.lines()))


def _left_out(names: list[str], found: set[str]) -> LeftOut:
    """What the other names stand for, beside the folders in which photos were found."""
    left_out = LeftOut()
    missed: dict[str, None] = {}
    for name in names:
        parts = name.split("/")
        deep = len(parts) > 2
        if any(map(left_by_tools, parts)) or not (is_unread(parts[-1]) or (deep and is_read(parts[-1]))):
            left_out.others.append(name)
            continue
        if deep:
            place = "/".join((*parts[:2], ""))
            left_out.deeper[place] = left_out.deeper.get(place, 0) + 1
        else:
            left_out.unread.append(name)
        if len(parts) > 1 and parts[0] not in found:
            missed[parts[0]] = None
    left_out.identities += missed
    return left_out
