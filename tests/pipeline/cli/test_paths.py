"""Paths of the command line: what can't be read or written is said before any work, and the check leaves no trace."""

import os

import click
import pytest

from arcface_common.errors import DataError
from pipeline.cli.paths import InputFile, InputFolder, Number, OutputFile, OutputFolder, Whole


@pytest.fixture
def place(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "path", "message"),
    [
        (InputFile, "folder", "expected a file. Received: a folder"),
        (InputFile, "fifo", "expected a file. Received: a named pipe"),
        (InputFile, "/dev/zero", "expected a file. Received: a device"),
        (InputFile, "dangling", "expected a file. Received: a link to nothing"),
        (InputFile, "loop", "Received: Too many levels of symbolic links"),
        (InputFile, "nothing", "expected a file. Received: no such file"),
        (InputFile, "file/below", "expected a file. Received: no such file"),
        (InputFile, "n" * 300, "Received: File name too long"),
        (InputFile, "a\0b", r"'a\\x00b': expected a path that can be used. Received: embedded null byte"),
        (InputFolder, "file", "expected a folder. Received: a file"),
        (InputFolder, "nothing", "expected a folder. Received: no such folder"),
        (OutputFile, "folder", "expected a file. Received: a folder"),
        (OutputFile, "/dev/full", "expected a file. Received: a device"),
        (OutputFile, "file/below", "expected a folder. Received: a file"),
        (OutputFile, "folder/", "expected the name of a file. Received: none"),
        (OutputFile, "/proc/x/y", "expected a folder that can be written to. Received: /proc: "),
        (OutputFolder, "file", "expected a folder. Received: a file"),
        (OutputFolder, "file/a/b", "file: expected a folder. Received: a file"),
        (OutputFolder, "dangling/a", "expected a folder. Received: a link to nothing"),
        (OutputFolder, "/proc/x/y", "expected a folder that can be written to. Received: /proc: "),
        (OutputFolder, "/sys/x", "expected a folder that can be written to. Received: /sys: "),
        (OutputFolder, "", "expected a folder. Received: an empty name"),
    ],
)
def test_what_cannot_be_used_is_refused(place, monkeypatch, kind, path, message):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    with pytest.raises(DataError, match=message):
        kind().convert(path, None, None)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (InputFile, "file"),
        (InputFolder, "folder"),
        (OutputFile, "file"),
        (OutputFile, "new/folder/file"),
        (OutputFolder, "folder"),
        (OutputFolder, "new/folder"),
        (OutputFolder, "a [v2]"),
    ],
)
def test_what_can_be_used_is_taken_as_it_is_and_nothing_is_made(place, monkeypatch, kind, path):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    assert kind().convert(path, None, None) == path
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "-0.1", "4.01", "", "much"])
def test_no_number_of_the_range(value):
    with pytest.raises(Exception, match="finite|range|not a valid float"):
        Number(0, 4).convert(value, None, None)


@pytest.mark.parametrize("kind", [Number(0, 40), Whole(0, 40)])
def test_digits_are_those_of_settings(kind):
    with pytest.raises(click.BadParameter, match="'\N{FULLWIDTH DIGIT TWO}0' is not a number in the digits 0 to 9"):
        kind.convert("\N{FULLWIDTH DIGIT TWO}0", None, None)
    assert kind.convert("20", None, None) == 20


def test_a_number_of_the_range():
    assert Number(0, 4).convert("4", None, None) == 4.0
