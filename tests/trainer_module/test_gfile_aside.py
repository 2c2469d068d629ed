"""Files and folders that get their name when they are complete."""

from pathlib import Path

import pytest

from trainer_module.gfile_aside import gfile_aside


def _write(path, kind, text):
    if kind == "folder":
        Path(path).mkdir()
        path = f"{path}/file"
    Path(path).write_text(text)


def _read(path, kind):
    return (path / "file" if kind == "folder" else path).read_text()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_body_s_work_takes_the_place_of_what_was_there(tmp_path, kind):
    path = tmp_path / "result"
    for text in ("one", "two"):
        with gfile_aside(str(path)) as aside:
            _write(aside, kind, text)
            assert not path.exists() or _read(path, kind) == "one"
        assert _read(path, kind) == text
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_body_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, kind):
    path = tmp_path / "result"
    _write(path, kind, "old")
    with pytest.raises(KeyboardInterrupt), gfile_aside(str(path)) as aside:
        _write(aside, kind, "new")
        raise KeyboardInterrupt
    assert _read(path, kind) == "old"
    assert list(tmp_path.iterdir()) == [path]
