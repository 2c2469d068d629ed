import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcface_common.errors import DataError
from components.alignment.template import TEMPLATE, magnification, similarity

angles = st.floats(-math.pi, math.pi)
scales = st.floats(0.01, 100)
shifts = st.floats(-5000, 5000)
noises = st.lists(st.floats(-8, 8), min_size=10, max_size=10)


def _turned(angle, scale, shift):
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return TEMPLATE @ turn.T + shift


def _least_squares(points):
    """The same by another way: a similarity is linear in a, b and the shift, (x, y) -> (ax - by + c, bx + ay + d)."""
    x, y = points.T
    one, zero = np.ones(len(points)), np.zeros(len(points))
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, c, d = np.linalg.lstsq(rows, TEMPLATE.T.ravel(), rcond=None)[0]
    return np.array([[a, -b, c], [b, a, d]])


@given(angles, scales, shifts, shifts)
def test_a_face_that_was_moved_comes_back(angle, scale, right, down):
    points = _turned(angle, scale, [right, down])
    matrix = similarity(points)
    assert magnification(matrix) == pytest.approx(1 / scale, rel=1e-6)
    found = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(found, TEMPLATE, atol=1e-6 * (1 + abs(right) + abs(down)) / scale)


@given(angles, st.floats(0.5, 4), shifts, shifts, noises)
def test_it_is_the_least_squares_solution(angle, scale, right, down, noise):
    points = _turned(angle, scale, [right, down]) + np.reshape(noise, (5, 2))
    np.testing.assert_allclose(similarity(points), _least_squares(points), rtol=1e-6, atol=1e-6)


def test_a_mirrored_face_is_not_mirrored_back():
    points = TEMPLATE * [-1, 1] + [112, 0]
    matrix = similarity(points)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize("points", [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.full((5, 2), 1e200) * TEMPLATE])
def test_points_that_are_no_face(points):
    with (
        pytest.raises(DataError, match="expected points of a face at different places. Received"),
        np.errstate(all="ignore"),
    ):
        similarity(points)
