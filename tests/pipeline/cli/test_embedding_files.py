"""Files of embeddings, read back by those whose formats they are: numpy, csv, pyarrow."""

import csv

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli.embedding_files import embedding_file

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9)


def _batches(names, dim, seed=0):
    random = np.random.default_rng(seed)
    for begin in range(0, len(names), 3):
        some = names[begin : begin + 3]
        positions = np.arange(begin, begin + len(some))
        embeddings = random.standard_normal((len(some), dim), np.float32)
        yield some, positions, embeddings, random.random(len(some), np.float32)


def _write(path, names, dim):
    """Writes batches of three; what was written, joined."""
    batches = list(_batches(names, dim))
    with embedding_file(str(path), dim, len(names)) as write:
        for batch in batches:
            write(*batch)
    nothing = np.zeros((0, dim), np.float32), np.zeros(0, np.float32)
    return [np.concatenate([nothing[i], *(batch[2 + i] for batch in batches)]) for i in range(2)]


@settings(max_examples=25, deadline=None)
@given(st.lists(NAMES, max_size=8), st.integers(1, 5))
def test_what_is_written_is_read_back(tmp_path_factory, names, dim):
    folder = tmp_path_factory.mktemp("files")
    for ending in (".npz", ".npy", ".csv", ".parquet"):
        path = folder / f"x{ending}"
        embeddings, norms = _write(path, names, dim)
        assert [found.name for found in folder.iterdir() if found.suffix == ending] == [path.name]
        if ending == ".npy":
            np.testing.assert_array_equal(np.load(path), embeddings)
            continue
        found_names, found_norms, found = _read(path, dim)
        # numpy's text of fixed width ends where the last character that isn't NUL does.
        assert found_names == names
        np.testing.assert_array_equal(found_norms, norms)
        np.testing.assert_array_equal(found, embeddings)


def _read(path, dim):
    if path.suffix == ".npz":
        with np.load(path) as archive:
            assert archive["embeddings"].dtype == archive["norms"].dtype == np.float32
            return archive["names"].tolist(), archive["norms"], archive["embeddings"]
    if path.suffix == ".csv":
        with open(path, encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        assert head == ["name", "norm", *(f"e{i}" for i in range(dim))]
        values = np.array([row[1:] for row in rows], np.float32).reshape(len(rows), 1 + dim)
        return [row[0] for row in rows], values[:, 0], values[:, 1:]
    table = pyarrow.parquet.read_table(path).to_pydict()
    vectors = np.array(table["embedding"], np.float32).reshape(len(table["name"]), dim)
    return table["name"], np.array(table["norm"], np.float32), vectors


@pytest.mark.parametrize("ending", [".npz", ".npy", ".csv", ".parquet"])
def test_a_failure_leaves_nothing_and_keeps_what_was_there(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    path.write_text("before")
    with pytest.raises(RuntimeError), embedding_file(str(path), 2, 1) as write:
        write(["a"], np.zeros(1, np.int64), np.zeros((1, 2), np.float32), np.zeros(1, np.float32))
        raise RuntimeError
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "before"


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 11)))
def test_rows_without_names_stay_in_place(tmp_path_factory, left_out):
    """Of 12 images, in batches of three that can be used, those of `left_out` can't."""
    path = tmp_path_factory.mktemp("files") / "x.npy"
    used = np.setdiff1d(np.arange(12), list(left_out))
    vectors = np.random.default_rng(0).standard_normal((12, 4), np.float32)
    with embedding_file(str(path), 4, 12) as write:
        for some in np.split(used, range(3, len(used), 3)):
            write([""] * len(some), some, vectors[some], np.ones(len(some), np.float32))
    found = np.load(path)
    np.testing.assert_array_equal(found[used], vectors[used])
    assert np.isnan(found).all(axis=1).tolist() == [i in left_out for i in range(12)]
