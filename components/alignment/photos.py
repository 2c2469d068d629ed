"""Which photos a folder holds, on whatever file system, and when each was last written."""

import dataclasses
import os
import posixpath
from pathlib import Path

from arcface_common import filesystem
from arcface_common.errors import DataError
from components.datasets.identity_folders import SUFFIXES, find_photos, left_by_tools


@dataclasses.dataclass(frozen=True)
class Photos:
    """What was found.

    Attributes:
      folder: the folder.
      names: path of each photo below it, with "/", sorted by folder, then by name.
      times: when each was last written, seconds since 1970.
      sizes: bytes of each; 0 on other file systems than the local one.
      left_out: says which files are no photos; None where all are.
    """

    folder: str
    names: tuple[str, ...]
    times: tuple[float, ...]
    sizes: tuple[int, ...]
    left_out: str | None


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
    return Photos(
        folder, names, tuple(s.st_mtime for s in stats), tuple(s.st_size for s in stats), found.left_out_line()
    )


def _list_remote(folder: str) -> Photos:
    start = f"{folder.rstrip('/')}/"
    times = {path.removeprefix(start): time for path, time in filesystem.times_below(folder).items()}
    usable = {
        name: time
        for name, time in times.items()
        if name.count("/") <= 1
        and posixpath.splitext(name)[1].lower() in SUFFIXES
        and not any(map(left_by_tools, name.split("/")))
    }
    depths = {name.count("/") for name in usable}
    if len(depths) != 1:
        received = "photos beside folders of photos" if depths else f"{len(times):,} files, none of them a photo"
        raise DataError(
            f"{folder}: expected JPEG or PNG files, or one folder of them an identity. Received: {received}"
        )
    names = tuple(sorted(usable, key=lambda name: name.split("/")))
    left_out = len(times) - len(usable)
    return Photos(
        folder,
        names,
        tuple(usable[name] for name in names),
        (0,) * len(names),
        f"left out, no images: {left_out:,}" if left_out else None,
    )
