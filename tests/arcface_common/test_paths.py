"""What no file is, in a file's place: said at once, never waited for."""

import os
import socket

import pytest

from arcface_common import filesystem
from arcface_common.bounded_file import check_size, read_bounded
from arcface_common.errors import DataError
from arcface_common.paths import check_folder_of_files
from components.content_digest import content_digest


def make_socket(path):
    """A socket's file, of a name of any length."""
    here = os.getcwd()
    os.chdir(os.path.dirname(path))
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.path.basename(path))
    finally:
        os.chdir(here)


NO_FILES = {
    "a named pipe": os.mkfifo,
    "a socket": make_socket,
    "a device": lambda path: os.symlink("/dev/zero", path),
    "a folder": os.mkdir,
}


@pytest.mark.parametrize(
    "read",
    [
        filesystem.read_file,
        lambda path: read_bounded(path, 9, "a limit"),
        lambda path: content_digest([path]),
        lambda path: filesystem.copy_folder(os.path.dirname(path), f"{os.path.dirname(path)}.copy"),
    ],
    ids=["whole", "bounded", "digest", "copy"],
)
@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a device"])
def test_what_is_no_file_is_not_read(tmp_path, kind, read):
    path = str(tmp_path / "x")
    NO_FILES[kind](path)
    with pytest.raises(DataError, match=rf"x: expected a file\. Received: {kind}$"):
        read(path)


def test_a_folder_is_no_file_and_nothing_is_not_there(tmp_path):
    with pytest.raises(DataError, match="expected a file. Received: a folder"):
        filesystem.read_file(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        filesystem.read_file(str(tmp_path / "nothing"))


def test_a_folder_that_another_library_reads(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "variables.index").write_text("x")
    (tmp_path / "linked").symlink_to("variables")
    (tmp_path / "dangling").symlink_to("nothing")
    os.mkfifo(tmp_path / ".hidden")
    check_folder_of_files(str(tmp_path))
    check_folder_of_files(str(tmp_path / "nothing"))
    os.mkfifo(tmp_path / "variables" / "variables.data-00000-of-00001")
    with pytest.raises(DataError, match=r"variables\.data-00000-of-00001: expected a file\. Received: a named pipe"):
        check_folder_of_files(str(tmp_path))


def test_a_size_is_known_before_a_file_is_read(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(20 << 30)
    check_size(str(tmp_path / "sparse"), 20 << 30, "a limit")
    with pytest.raises(DataError, match=r"sparse: expected a file of at most 9 bytes \(a limit\)\. Received: 21,474"):
        check_size(str(tmp_path / "sparse"), 9, "a limit")
