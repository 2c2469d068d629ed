"""Files of any file system: local ones by the operating system, all others (s3://, gs://, hdfs://) by Beam's.

TensorFlow knows no s3:// any more, and a call of Beam's costs more than the read of 6 KB from a local file.
"""

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from arcface_common.paths import check_regular

_COPIED = 1 << 20  # bytes at once
_UNCOMPRESSED = "uncompressed"  # Beam's CompressionTypes.UNCOMPRESSED: a file's ending says nothing about its bytes


def beam_filesystems() -> Any:
    """Beam's `FileSystems`, imported where a path needs them (3 s), and told where they are.

    A pipeline's options tell them, and S3 refuses to work untold. But the process that starts a pipeline looks at files
    before that, and a worker pool's process is told nothing: then credentials and endpoint come from the environment
    (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL ...).
    """
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if FileSystems._pipeline_options is None:
        FileSystems.set_options(PipelineOptions([]))
    return FileSystems


def is_local(path: str) -> bool:
    """Whether the path has no scheme."""
    return "://" not in path


def path_end(path: str) -> str:
    """What of an output's path stays the same where its root is moved, e.g. "Exporter/model/10"."""
    return "/".join(path.rstrip("/").split("/")[-3:])


def open_read(path: str) -> BinaryIO:
    """Opens a file for reading; the result seeks.

    Raises:
      DataError: a pipe, a device, a folder ... in its place; nothing is waited for.
      OSError: no such file, or it can't be read.
    """
    if is_local(path):
        check_regular(path)
        return open(path, "rb")
    return beam_filesystems().open(path, compression_type=_UNCOMPRESSED)


@contextlib.contextmanager
def write_aside(path: str, aside: str, reserve: int = 0) -> Iterator[BinaryIO]:
    """Writes a file in another folder and renames it, so that nobody ever meets half a file.

    Args:
      path: where the file belongs; its folder is made.
      aside: folder for the unfinished file, on the same file system.
      reserve: about how many bytes will be written: a local disk that is too full says so at once, and writing takes
        a third less of the kernel's time (0.5 instead of 0.85 us for 5.5 KB on ext4).

    Yields:
      The unfinished file, open for writing; if the body raises, it is removed and `path` does not appear.

    Raises:
      OSError: what is to be reserved isn't there; names `path`.
    """
    make_folder(aside)
    make_folder(os.path.dirname(path))
    unfinished = os.path.join(aside, uuid.uuid4().hex)
    try:
        if is_local(path):
            with open(unfinished, "wb", buffering=1 << 16) as file:
                if reserve:
                    _reserve(file, reserve, path)
                yield file
                file.truncate()  # what was reserved and not needed
            os.replace(unfinished, path)
        else:
            with _created(unfinished) as file:
                yield file
            remove([path])  # others rename nothing over what is there
            beam_filesystems().rename([unfinished], [path])
    except BaseException:
        remove([unfinished])
        raise


def _reserve(file: BinaryIO, size: int, path: str) -> None:
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {size} bytes", path) from error


def write_file(path: str, content: bytes, aside: str) -> None:
    """Writes a whole file by `write_aside`."""
    with write_aside(path, aside) as file:
        file.write(content)


def read_file(path: str) -> bytes:
    """A whole file.

    Raises:
      DataError: see `open_read`.
      OSError: no such file, or it can't be read.
    """
    with open_read(path) as file:
        return file.read()


def exists(path: str) -> bool:
    """Whether there is such a file."""
    return os.path.exists(path) if is_local(path) else beam_filesystems().exists(path)


def size(path: str) -> int:
    """Length of a file in bytes.

    Raises:
      OSError: no such file.
    """
    if is_local(path):
        return os.path.getsize(path)
    (result,) = beam_filesystems().match([glob.escape(path)])
    if not result.metadata_list:
        raise FileNotFoundError(f"{path}: expected a file. Received: no such file")
    return int(result.metadata_list[0].size_in_bytes)


def checksum(path: str) -> str:
    """The checksum that another file system keeps of a file; no byte is read.

    Raises:
      OSError: no such file.
    """
    return str(beam_filesystems().checksum(path))


def files_below(folder: str) -> list[str]:
    """All files in a folder and its sub-folders, sorted; none where there is no such folder."""
    return sorted(times_below(folder))


def times_below(folder: str) -> dict[str, float]:
    """All files in a folder and its sub-folders, and when each was last written, in seconds since 1970."""
    if is_local(folder):
        paths = [os.path.join(path, name) for path, _, names in os.walk(folder) for name in names]
        return {path: os.stat(path).st_mtime for path in paths}
    (result,) = beam_filesystems().match([f"{glob.escape(folder.rstrip('/'))}/**"])
    return {metadata.path: metadata.last_updated_in_seconds for metadata in result.metadata_list}


def folders_in(folder: str) -> list[str]:
    """Names of the folders right below a folder, sorted; none where there is no such folder."""
    if is_local(folder):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return sorted(name for name in names if os.path.isdir(os.path.join(folder, name)))  # a looping link is none
    start = f"{folder.rstrip('/')}/"
    below = (path.removeprefix(start) for path in times_below(folder))
    return sorted({path.partition("/")[0] for path in below if "/" in path})


def make_folder(path: str) -> None:
    """Makes a folder and its parents where the file system has folders."""
    if is_local(path):
        os.makedirs(path, exist_ok=True)


def remove(paths: Sequence[str]) -> None:
    """Removes the files that exist."""
    for path in paths:
        if exists(path):
            os.remove(path) if is_local(path) else beam_filesystems().delete([path])


def remove_folder(path: str) -> None:
    """Removes a folder and all in it, if it exists."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
    elif files := files_below(path):
        beam_filesystems().delete(files)


def link(source: str, target: str) -> None:
    """Lets a second name hold the same file, without moving a byte where the file system can; the first one stays.

    Args:
      source: an existing file.
      target: its second name; its folder is made.
    """
    make_folder(os.path.dirname(target))
    if _scheme(source) != _scheme(target):
        with open_read(source) as read, write_aside(target, os.path.dirname(target)) as written:
            shutil.copyfileobj(read, written, _COPIED)
        return
    if not is_local(source):
        beam_filesystems().copy([source], [target])
        return
    try:
        os.link(source, target)
    except OSError:  # no hard links here, or another file system
        shutil.copyfile(source, target)


def copy_folder(source: str, target: str, last: str = "") -> None:
    """Copies all files of a folder and its sub-folders.

    Args:
      source: the folder.
      target: its copy; what else lies there stays.
      last: path, from the folder, of the file without which nobody takes the copy for whole: it comes last.
    """
    start = f"{source.rstrip('/')}/"
    names = [path.removeprefix(start) for path in files_below(source)]
    for name in sorted(names, key=lambda name: (name == last, name)):
        copy = os.path.join(target, name)
        make_folder(os.path.dirname(copy))
        with open_read(start + name) as read, _created(copy) as written:
            shutil.copyfileobj(read, written, _COPIED)


def _created(path: str) -> BinaryIO:
    if is_local(path):
        return open(path, "wb")
    return beam_filesystems().create(path, compression_type=_UNCOMPRESSED)


def _scheme(path: str) -> str:
    return "" if is_local(path) else path.partition("://")[0]
