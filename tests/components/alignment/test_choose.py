import dataclasses

import numpy as np
import pytest

from arcface_common.errors import DataError
from components.alignment.choose import choose
from components.alignment.face import Face
from components.alignment.settings import AlignSettings
from components.alignment.template import TEMPLATE

SIDE = 400
ANY = AlignSettings(min_score=0, min_face=1, max_upscale=1000, max_padding=1)


def _face(left, top, side, score=0.99):
    return Face(np.array([left, top, left + side, top + side]), score, TEMPLATE / 112 * side + [left, top])


CENTRE = _face(150, 150, 100, 0.93)
LARGE = _face(0, 0, 160, 0.95)
SURE = _face(10, 250, 60, 0.999)


@pytest.mark.parametrize("which, expected", [("central", CENTRE), ("largest", LARGE), ("surest", SURE)])
def test_which_of_several(which, expected):
    choice = choose([SURE, LARGE, CENTRE], SIDE, SIDE, dataclasses.replace(ANY, which=which))
    assert choice.face is expected
    assert choice.rejected == ""


def test_only():
    only = dataclasses.replace(ANY, which="only")
    assert choose([LARGE, CENTRE], SIDE, SIDE, only).rejected == "several faces: 2"
    assert choose([CENTRE], SIDE, SIDE, only).rejected == ""
    # Faces that don't fulfil the rest don't count.
    assert choose([SURE, LARGE], SIDE, SIDE, dataclasses.replace(only, min_face=70)).face is LARGE


@pytest.mark.parametrize(
    "face, given, reason",
    [
        (CENTRE, {"min_score": 0.95}, "low score: 0.93, min-score is 0.95"),
        (CENTRE, {"min_face": 101}, "small face: 100 pixels, min-face is 101"),
        (_face(100, 100, 30), {"max_upscale": 2.0}, "enlarged: 3.73 times, max-upscale is 2"),
        (_face(-50, 100, 100), {"max_padding": 0.3}, "cut off: 0.50 outside of the photo, max-padding is 0.3"),
        (Face(CENTRE.box, 0.99, CENTRE.points[[1, 0, 2, 4, 3]]), {}, "mirrored points: expected the left eye"),
        (Face(CENTRE.box, 0.99, np.ones((5, 2))), {}, "one point: expected five at different places"),
    ],
)
def test_why_not(face, given, reason):
    choice = choose([face], SIDE, SIDE, dataclasses.replace(ANY, **given))
    assert choice.rejected.startswith(reason)
    assert choice.face is face


def test_no_face():
    assert choose([], SIDE, SIDE, ANY) == (None, None, "no face")


def test_a_face_that_fulfils_all_goes_before_a_larger_one_that_does_not():
    cut = _face(-40, 0, 160)
    fit = dataclasses.replace(ANY, which="largest", max_padding=0.0)
    assert choose([cut, CENTRE], SIDE, SIDE, fit).face is CENTRE


def test_a_face_upside_down_is_no_mirrored_one():
    points = SIDE - CENTRE.points
    assert choose([Face(CENTRE.box, 0.99, points)], SIDE, SIDE, ANY).rejected == ""


@pytest.mark.parametrize(
    "given", [{"which": "best"}, {"min_score": 1.1}, {"min_score": float("nan")}, {"max_upscale": 0.0}, {"max_side": 3}]
)
def test_settings_out_of_range(given):
    with pytest.raises(DataError, match=f"{next(iter(given))}: expected .* Received: "):
        AlignSettings(**given)
