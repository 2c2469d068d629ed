"""ML Metadata after folders were removed, emptied, moved, copied: what is marked, and what is put back."""

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from arcface_common.errors import DataError
from pipeline.runs.artifacts import files_note, full_disk_named, record_files
from pipeline.runs.reconcile import reconcile
from tests.pipeline.runs.roots import DELETED, KINDS, LIVE, MODEL, Root, write

NEEDED = "it and what reads it run again where that is needed"


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    path.mkdir()
    return Root(path)


def test_what_is_whole_stays_as_it_is(root, capsys):
    root.trained_and_pushed("100")
    before = root.store.get_artifacts()
    reconcile(root.config)
    assert root.store.get_artifacts() == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("loss", ["folder", "content", "file"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_gone_is_marked_so_once(root, capsys, kind, loss):
    output, files = KINDS[kind]
    splits = '["train"]' if files[0].startswith("Split-") else ""
    lost, kept = (root.add(root.execution("Node"), "Node", output, kind, files, splits) for _ in range(2))
    folder = root.uri(lost)
    if loss == "file":
        (folder / files[0]).unlink()
    else:
        shutil.rmtree(folder)
        if loss == "content":
            folder.mkdir()
    reconcile(root.config)
    assert root.states() == {lost: DELETED, kept: LIVE}
    said = capsys.readouterr().err
    assert said == f"Node: what it wrote is gone ({output} {folder.name}): {NEEDED}\n"
    reconcile(root.config)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("damaged", "how"),
    [
        (lambda file: file.write_bytes(b"con"), "{file} has 3 of 7 bytes"),
        (lambda file: file.write_bytes(b"content, and more"), "{file} has 17 of 7 bytes"),
        (lambda file: write(file.with_name("zz.tfrecord")), "{folder}/zz.tfrecord was not written by it"),
        (lambda file: write(files_note(file.parents[1]), "[1]"), "{note} can't be read"),
    ],
)
def test_what_is_damaged_is_marked_so_once(root, capsys, damaged, how):
    output, files = KINDS["Examples"]
    lost, kept = (root.add(root.execution("Node"), "Node", output, "Examples", files, '["train"]') for _ in range(2))
    for number in (lost, kept):
        record_files(str(root.uri(number)))
    reconcile(root.config)
    assert root.states() == {lost: LIVE, kept: LIVE}
    write(root.uri(kept) / "Split-train" / ".DS_Store")
    write(root.uri(kept) / "notes.txt")
    damaged(root.uri(lost) / files[0])
    reconcile(root.config)
    assert root.states() == {lost: DELETED, kept: LIVE}
    how = how.format(
        file=root.uri(lost) / files[0], folder=root.uri(lost) / "Split-train", note=files_note(root.uri(lost))
    )
    assert capsys.readouterr().err == f"Node: what it wrote is damaged ({how}): {NEEDED}\n"
    reconcile(root.config)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("served", [False, True])
def test_a_damaged_push_is_marked_so(root, capsys, served):
    model, blessing, pushed = root.trained_and_pushed("100")
    record_files(str(root.uri(pushed)))
    for file in MODEL:  # what is served is a copy
        shutil.copyfile(root.uri(pushed) / file, root.path / "serving" / "arcface" / "100" / file)
    reconcile(root.config)
    assert root.states()[pushed] == LIVE
    folder = root.path / "serving" / "arcface" / "100" if served else root.uri(pushed)
    write(folder / MODEL[1], "cut")
    reconcile(root.config)
    assert root.states()[pushed] == DELETED
    assert root.states()[model] == root.states()[blessing] == LIVE
    assert f"Pusher: what it wrote is damaged ({folder / MODEL[1]} has 3 of 7 bytes)" in capsys.readouterr().err


def test_empty_folders_that_were_empty_are_whole(root):
    unblessed = root.add(root.execution("Pusher"), "Pusher", "pushed_model", "PushedModel", [], pushed=0)
    reconcile(root.config)
    assert root.states() == {unblessed: LIVE}


@pytest.mark.parametrize("loss", ["folder", "content", "file"])
def test_a_version_that_is_gone_is_pushed_again(root, loss):
    model, blessing, pushed = root.trained_and_pushed("100")
    version = root.path / "serving" / "arcface" / "100"
    if loss == "file":
        (version / "variables" / "variables.index").unlink()
    else:
        shutil.rmtree(version)
        if loss == "content":
            version.mkdir()
    reconcile(root.config)
    states = root.states()
    assert states.pop(pushed) == DELETED
    assert set(states.values()) == {LIVE}


@pytest.mark.parametrize("copied", [True, False])
def test_a_moved_or_copied_root_finds_its_artifacts_and_leaves_the_old_one_alone(root, capsys, copied):
    numbers = root.trained_and_pushed("100")
    old, new = root.path, root.path.with_name("new")
    (shutil.copytree if copied else shutil.move)(old, new)
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    moved = Root(new)
    reconcile(moved.config)
    assert set(moved.states().values()) == {LIVE}
    assert {moved.uri(number).relative_to(new).parts[0] for number in numbers} == {"pipeline"}
    (pushed,) = moved.store.get_artifacts_by_id(numbers[2:])
    assert pushed.custom_properties["pushed_destination"].string_value == str(new / "serving" / "arcface" / "100")
    assert (
        capsys.readouterr().err
        == f"{new} was {old} when it was last used: its models and examples are looked for here\n"
    )
    shutil.rmtree(moved.uri(numbers[0]))
    reconcile(moved.config)
    assert moved.states()[numbers[0]] == DELETED
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("damage", [b"SQLite format 3\0" + b"x" * 5000, b"not a database at all" * 100])
def test_a_damaged_metadata_file_is_named_with_what_to_do(root, damage):
    (root.path / "metadata.sqlite").write_bytes(damage)
    with pytest.raises(DataError, match=r"metadata\.sqlite: expected ML Metadata's SQLite file\. Move it away"):
        reconcile(root.config)
    assert (root.path / "metadata.sqlite").read_bytes() == damage


def test_a_torn_metadata_file_is_named(root):
    root.trained_and_pushed("100")
    path = root.path / "metadata.sqlite"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"metadata\.sqlite: expected ML Metadata's SQLite file"):
        reconcile(root.config)


@pytest.mark.parametrize("old", [True, False])
def test_outputs_that_metadata_knows_nothing_of_are_set_aside(root, capsys, old):
    """Their numbers are given again: new shards would come to lie beside old ones."""
    path = root.path / "metadata.sqlite"
    if old:
        known = root.add(root.execution("Node"), "Node", "schema", "Schema", ["schema.pbtxt"])
        shutil.copy(path, root.path / "backup")
    write(root.path / "pipeline" / "Node" / "examples" / "7" / "Split-train" / "data-00000-of-00002.tfrecord")
    write(root.path / "pipeline" / "Node" / ".system" / "executor_execution" / "log")
    if not old:
        assert not path.exists()
    reconcile(root.config)
    (aside,) = root.path.glob("unknown-*")
    shards = [file.relative_to(aside) for file in aside.rglob("*.tfrecord")]
    assert shards == [Path("Node/examples/7/Split-train/data-00000-of-00002.tfrecord")]
    assert not (root.path / "pipeline" / "Node" / "examples" / "7").exists()
    assert f"knows nothing of 1 outputs of earlier runs: moved to {aside}" in capsys.readouterr().err
    if old:
        assert root.states() == {known: LIVE}


def test_a_new_root_has_nothing_to_reconcile(root, capsys):
    reconcile(root.config)
    assert list(root.path.iterdir()) == []
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_said_with_its_path(tmp_path):
    path = str(tmp_path / "metadata.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE artifact (name)")
        connection.execute("PRAGMA max_page_count=2")
        with pytest.raises(OSError) as told, full_disk_named(path):
            connection.execute("INSERT INTO artifact VALUES (?)", ["x" * 100_000])
    assert (told.value.filename, told.value.strerror) == (path, "No space left on device")
