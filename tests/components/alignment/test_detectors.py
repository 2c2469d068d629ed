import numpy as np
import pytest

from arcface_common.errors import DataError
from components.alignment.detectors import load_detector
from tests.components.alignment import marks

MARKS = "tests.components.alignment.marks"
IMAGE = np.full((40, 40, 3), 100, np.uint8)


def test_a_users_detector():
    (faces,) = load_detector(f"{MARKS}:load")([IMAGE])
    assert len(faces) == 2
    np.testing.assert_array_equal(faces[0].points, marks.face(IMAGE.shape, 0).points)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("retinaface", r"expected 'mtcnn' or 'package\.module:function'"),
        ("nowhere_at_all:load", "expected a module that can be imported"),
        (f"{MARKS}:nothing", "expected a function 'nothing'"),
        (f"{MARKS}:load_nothing", "expected a function from images to faces. Received: 3"),
        (f"{MARKS}:photo", "expected a function that loads the detector without arguments. Received: TypeError: "),
        ("tests.components.alignment.fails:load", "expected a module that can be imported. Received: KeyError: 'gone'"),
        (":load", r"expected 'mtcnn' or 'package\.module:function'"),
    ],
)
def test_no_detector(name, expected):
    with pytest.raises(DataError, match=f"{expected}.*") as caught:
        load_detector(name)
    assert "Received: " in str(caught.value)


@pytest.mark.parametrize(
    "face",
    [
        ((0, 0, 10, 10), 0.9, [[1, 2]]),
        ((10, 10, 0, 0), 0.9, np.ones((5, 2))),
        ((0, 0, 10, float("nan")), 0.9, np.ones((5, 2))),
        ((0, 0, 10, 10), None, np.ones((5, 2))),
        (0, 0, 10, 10),
        None,
    ],
)
def test_a_face_that_is_none(face, monkeypatch):
    monkeypatch.setattr(marks, "detect", lambda images: [[face] for _ in images])
    with pytest.raises(DataError, match=rf"detector '{MARKS}:load': expected faces of a box .* Received: "):
        load_detector(f"{MARKS}:load")([IMAGE])


@pytest.mark.parametrize("answer", [None, 3, [None]])
def test_what_is_no_list_of_faces(answer, monkeypatch):
    monkeypatch.setattr(marks, "detect", lambda images: answer)
    with pytest.raises(DataError, match=rf"'{MARKS}:load': expected one list of faces for each image. Received: TypeE"):
        load_detector(f"{MARKS}:load")([IMAGE])


def test_fewer_lists_than_images(monkeypatch):
    monkeypatch.setattr(marks, "detect", lambda images: [[]])
    with pytest.raises(DataError, match="expected one list of faces for each image. Received: 1 for 2 images"):
        load_detector(f"{MARKS}:load")([IMAGE, IMAGE])
