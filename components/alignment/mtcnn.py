"""MTCNN, the detector by which InsightFace's training sets were aligned: faces and five points of each.

The cascade, its thresholds and its arithmetic are those of the package `mtcnn` 1.0.0 with its defaults, photo by photo:
`tests/components/alignment/test_mtcnn.py` holds it against that package. What differs: the package's memory grows with
the square of the proposals (a photo of leaves of 1024x1024 could ask for 60 GB), points are whole pixels there, and a
batch of different sizes gives other faces than its photos alone.
"""

from collections.abc import Sequence

import numpy as np

from components.alignment.face import Face
from components.alignment.mtcnn_networks import Network, load_networks
from components.alignment.resampling import patches, resize_area

_SMALLEST_FACE = 20  # pixels: the pyramid begins where such a face has the 12 that the first network looks at
_CELL, _STRIDE = 12, 2  # pixels of a place of the first network, and between two of them
_STEP = 0.709  # from one level of the pyramid to the next: half the area
_MIN_SCORES = (0.6, 0.7, 0.8)  # after each network
# Overlap above which a lower score gives way: within a level, across levels, after the second and after the third one.
_OVERLAPS = (0.5, 0.7, 0.7, 0.7)
_MOST = 2048  # proposals of a level, and of a photo
_AT_ONCE = 256  # boxes held against all better ones: 2048 x 256 float64 are 4 MB
_PATCHES_AT_ONCE = 512


class Mtcnn:
    """The detector; its networks are loaded once."""

    def __init__(self, threads: int = 1) -> None:
        self._pnet, self._rnet, self._onet = load_networks(threads)

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces in each photo, the surest first.

        Args:
          images: uint8 [H, W, 3] each, RGB.
        """
        return [self._faces(image) for image in images]

    def _faces(self, image: np.ndarray) -> list[Face]:
        pixels = image.astype(np.float32)
        boxes = _squares(self._proposals(pixels))
        pixels = _normalised(pixels)
        if not len(boxes):
            return []
        offsets, odds = self._run(self._rnet, pixels, boxes, 24)
        boxes, scores = _moved(boxes, offsets), odds[:, 1]
        sure = np.flatnonzero(scores > _MIN_SCORES[1])
        boxes, scores = _best(boxes[sure], scores[sure], _OVERLAPS[2])
        boxes = _squares(boxes)
        if not len(boxes):
            return []
        offsets, points, odds = self._run(self._onet, pixels, boxes, 48)
        moved, scores = _moved(boxes, offsets), odds[:, 1]
        sure = np.flatnonzero(scores > _MIN_SCORES[2])
        order = sure[np.argsort(-scores[sure], kind="stable")]
        kept = order[_kept(moved[order], _OVERLAPS[3], of_smaller=True)]
        last = np.tile([image.shape[1] - 1.0, image.shape[0] - 1.0], 2)
        return [Face(np.clip(moved[i], 0, last), float(scores[i]), _points(boxes[i], points[i])) for i in kept]

    def _proposals(self, pixels: np.ndarray) -> np.ndarray:
        """Boxes of whatever may be a face: float64 [N, 4]."""
        height, width, _ = pixels.shape
        found, found_scores = [np.empty((0, 4))], [np.empty(0)]
        for scale in _scales(min(height, width)):
            small = resize_area(pixels, int(height * scale), int(width * scale))
            offsets, odds = self._pnet(_normalised(small)[None])
            scores = odds[0, 1]
            rows, columns = np.nonzero(scores > _MIN_SCORES[0])
            # A place's box goes from pixel 1 to 12, as in the published code, whose pixels count from 1.
            corners = _STRIDE * np.stack([columns, rows, columns, rows], axis=1) + [1, 1, _CELL, _CELL]
            boxes = (corners + offsets[0, :, rows, columns] * (_CELL - 1.0)) / scale
            boxes, scores = _best(boxes, scores[rows, columns], _OVERLAPS[0])
            found.append(boxes)
            found_scores.append(scores)
        boxes, _ = _best(np.concatenate(found), np.concatenate(found_scores), _OVERLAPS[1])
        return boxes

    @staticmethod
    def _run(network: Network, pixels: np.ndarray, boxes: np.ndarray, side: int) -> list[np.ndarray]:
        """A network on the patches of boxes, in bounded memory; what it says, [N, ...] each."""
        starts = range(0, len(boxes), _PATCHES_AT_ONCE)
        parts = [network(patches(pixels, boxes[i : i + _PATCHES_AT_ONCE], side)) for i in starts]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _scales(side: int) -> np.ndarray:
    """The pyramid's scales for a photo whose shorter side has so many pixels; none below 18."""
    levels = round(np.log(side / _CELL) / -np.log(_STEP) - 1) if side >= _CELL else 0
    return _CELL / _SMALLEST_FACE * _STEP ** np.arange(max(levels, 0))


def _normalised(pixels: np.ndarray) -> np.ndarray:
    return (pixels - np.float32(127.5)) / np.float32(128)


def _squares(boxes: np.ndarray) -> np.ndarray:
    """The boxes as squares of their longer side about the same middle."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    side = sizes.max(axis=1, keepdims=True)
    first = boxes[:, :2] + sizes / 2 - side / 2
    return np.concatenate([first, first + side], axis=1)


def _moved(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The boxes as a network corrects them, in shares of their sides."""
    return boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def _points(box: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Five points [5, 2] from shares of a box's sides: five x, then five y."""
    return box[:2] - 1 + shares.reshape(2, 5).T * (box[2:] - box[:2] + 1)


def _best(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """The boxes that no better one overlaps, best first, of the `_MOST` best."""
    order = np.argsort(-scores, kind="stable")[:_MOST]
    order = order[_kept(boxes[order], overlap)]
    return boxes[order], scores[order]


def _kept(boxes: np.ndarray, overlap: float, *, of_smaller: bool = False) -> np.ndarray:
    """Which of N boxes, best first, overlap no better one by more than a share: bool [N].

    Args:
      boxes: float [N, 4].
      overlap: the share of the area of both, or of the smaller one.
      of_smaller: take the smaller one's.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = np.ones(len(boxes), bool)
    for begin in range(0, len(boxes), _AT_ONCE):
        end = min(begin + _AT_ONCE, len(boxes))
        better, these = boxes[:end, None], boxes[None, begin:end]
        sides = np.minimum(better[..., 2:], these[..., 2:]) - np.maximum(better[..., :2], these[..., :2])
        common = np.maximum(sides, 0).prod(axis=-1)
        pair = areas[:end, None], areas[None, begin:end]
        whole = np.minimum(*pair) if of_smaller else pair[0] + pair[1] - common
        is_better = np.arange(end)[:, None] < np.arange(begin, end)
        kept[begin:end] = ~((common > overlap * whole) & is_better).any(axis=0)
    return kept
