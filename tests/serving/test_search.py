"""Exact search among embeddings, against scikit-learn's."""

import doctest

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from arcface_common.errors import DataError
from serving import search as module
from serving.search import search


def _unit(count, dim, seed):
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("gallery", "probes", "top"), [(1, 1, 1), (7, 3, 7), (100, 33, 5), (300, 10, 260)])
@pytest.mark.parametrize("block", [2048, 16])
def test_as_scikit_learn(monkeypatch, gallery, probes, top, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    known, asked = _unit(gallery, 16, 1), _unit(probes, 16, 2)
    found = search(known, asked, top=top)
    distances, positions = (
        NearestNeighbors(n_neighbors=top, metric="cosine", algorithm="brute").fit(known).kneighbors(asked)
    )
    np.testing.assert_allclose(found.cosines, 1 - distances, atol=1e-6)
    # Cosines that are equal to the last digit of a float32 may change places.
    assert np.mean(found.positions == positions) > 0.99
    assert found.names == [[str(at) for at in row] for row in found.positions.tolist()]
    assert len(found) == probes


def test_of_equal_ones_the_first_comes_first(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 2)
    found = search([[1, 0]] * 5 + [[0, 1]], [1, 0], names=list("abcdef"), top=6)
    assert found.names == [list("abcdef")]
    assert search([[1, 0]], [[1, 0]], top=9).positions.tolist() == [[0]]


@pytest.mark.parametrize(
    ("gallery", "probes", "more", "expected"),
    [
        ([[1, 0]], [[1, 0, 0]], {}, r"expected a gallery \[G, D\] .* Received: \(1, 2\) and \(1, 3\)"),
        (np.zeros((0, 2)), [[1, 0]], {}, r"expected a gallery \[G, D\] of G >= 1"),
        ([[1, 1]], [[1, 0]], {}, "expected gallery of length 1. Received: row 0 of length 1.41421"),
        ([[1, 0]], [[1, 0], [np.nan, 0]], {}, "expected probes of length 1. Received: row 1 of length nan"),
        ([["a", "b"]], [[1, 0]], {}, r"expected gallery \[N, D\] of numbers"),
        ([[1, 0]], [[1, 0]], {"names": ["a", "b"]}, "expected 1 names, one an embedding of the gallery. Received: 2"),
        ([[1, 0]], [[1, 0]], {"top": 0}, "top: expected a whole number of at least 1. Received: 0"),
    ],
)
def test_what_cannot_be_searched(gallery, probes, more, expected):
    with pytest.raises(DataError, match=expected):
        search(gallery, probes, **more)


def test_examples():
    assert doctest.testmod(module).failed == 0
