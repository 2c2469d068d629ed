"""The digest goes by names and contents alone, and notices what sizes and seconds don't."""

import json
import os
import shutil

import pytest

from arcface_common.errors import DataError
from components import content_digest as module
from components.content_digest import content_digest


def _write(folder, **contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return sorted(str(folder / name) for name in contents)


def test_a_copy_elsewhere_is_the_same_data(tmp_path):
    paths = _write(tmp_path / "a", rec=b"records", idx=b"1\t0\n")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert content_digest(paths) == content_digest(sorted(str(p) for p in (tmp_path / "b").iterdir()))
    assert len(content_digest(paths)) == 32


@pytest.mark.parametrize("change", [{"rec": b"recordz"}, {"rec": b"records2"}, {"rec": b"1\t0\n", "idx": b"records"}])
def test_other_contents_or_names_are_other_data(tmp_path, change):
    before = content_digest(_write(tmp_path / "a", rec=b"records", idx=b"1\t0\n"))
    assert before != content_digest(_write(tmp_path / "b", **{"rec": b"records", "idx": b"1\t0\n", **change}))


def test_an_edit_within_the_second_that_keeps_size_and_time_is_noticed(tmp_path):
    memo = str(tmp_path / "work" / "digests.json")
    (path,) = _write(tmp_path / "a", rec=b"records")
    before = content_digest([path], memo)
    stat = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"R")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert content_digest([path], memo) != before


def test_an_unchanged_file_is_read_once(tmp_path, monkeypatch):
    memo = str(tmp_path / "work" / "digests.json")
    (path,) = _write(tmp_path / "a", rec=b"records")
    monkeypatch.setattr(module, "_SETTLED_SECONDS", -1)
    reads = []
    digest_of = module._file_digest
    monkeypatch.setattr(module, "_file_digest", lambda p: reads.append(p) or digest_of(p))
    assert content_digest([path], memo) == content_digest([path], memo)
    assert reads == [path]
    assert list(json.loads((tmp_path / "work" / "digests.json").read_text())) == [path]


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path):
    memo = tmp_path / "digests.json"
    content_digest(_write(tmp_path / "a", rec=b"records"), str(memo))
    assert not memo.exists()


def test_a_file_whose_change_is_told_by_its_change_time_alone_is_read_again(tmp_path, monkeypatch):
    """The same size, inode and modification time, and long enough ago: only the kernel's own time stamp tells."""
    memo = str(tmp_path / "work" / "digests.json")
    (path,) = _write(tmp_path / "a", rec=b"records")
    monkeypatch.setattr(module, "_SETTLED_SECONDS", -1)
    before = content_digest([path], memo)
    stat = os.stat(path)
    (known,) = json.loads((tmp_path / "work" / "digests.json").read_text()).values()
    assert stat.st_ctime_ns in known
    while os.stat(path).st_ctime_ns == stat.st_ctime_ns:  # the kernel's clock ticks every few milliseconds
        with open(path, "r+b") as file:
            file.write(b"R")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = os.stat(path)
    assert (after.st_size, after.st_ino, after.st_mtime_ns) == (stat.st_size, stat.st_ino, stat.st_mtime_ns)
    assert content_digest([path], memo) != before


@pytest.mark.parametrize("content", [b"", b'{"a": [1', b"[]", b'{"a": 1}', b"\xff\xfe"])
def test_a_damaged_memo_is_thrown_away_aloud(tmp_path, monkeypatch, capsys, content):
    memo = tmp_path / "work" / "digests.json"
    (path,) = _write(tmp_path / "a", rec=b"records")
    memo.parent.mkdir()
    memo.write_bytes(content)
    monkeypatch.setattr(module, "_SETTLED_SECONDS", -1)
    assert content_digest([path], str(memo)) == content_digest([path])
    assert f"{memo}: damaged, and thrown away" in capsys.readouterr().err
    assert list(json.loads(memo.read_text())) == [path]


def test_no_file_has_no_digest():
    with pytest.raises(DataError, match="expected files to take a digest of. Received: none"):
        content_digest([])


def test_chunks_are_hashed_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_BYTES", 4)
    (one,) = _write(tmp_path / "a", rec=b"abcdefghij")
    (other,) = _write(tmp_path / "b", rec=b"efghabcdij")
    assert content_digest([one]) != content_digest([other])
