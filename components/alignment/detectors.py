"""What finds faces in photos: MTCNN, or a function of the user's."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from arcface_common.errors import DataError
from components.alignment.face import Detector, Face
from components.alignment.settings import MTCNN


def load_detector(name: str) -> Detector:
    """Loads a detector; once a process is enough.

    Args:
      name: "mtcnn", or `package.module:function`: a function without arguments that loads the user's and gives a
        `Detector`. Modules are also looked for in the working folder.

    Returns:
      The detector; that of a user is held to what a `Detector` gives.

    Raises:
      DataError: no such module or function, or one that fails or gives no function.
    """
    if name == MTCNN:
        from components.alignment.mtcnn import Mtcnn  # onnxruntime and onnx, 0.5 s

        return Mtcnn()
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise DataError(f"detector: expected {MTCNN!r} or 'package.module:function'. Received: {name!r}")
    if os.getcwd() not in sys.path:  # not there where the installed script was started
        sys.path.append(os.getcwd())
    with _blamed(name, "a module that can be imported"):
        load = getattr(importlib.import_module(module), function, None)
    if not callable(load):
        raise DataError(f"detector: expected a function {function!r} in {module!r}. Received: {name!r}")
    with _blamed(name, "a function that loads the detector without arguments"):
        detector = load()
    if not callable(detector):
        raise DataError(f"detector {name!r}: expected a function from images to faces. Received: {detector!r}")
    return _Checked(name, detector)


@contextlib.contextmanager
def _blamed(name: str, expected: str) -> Iterator[None]:
    """Says of whatever a user's code raises that it is theirs.

    Raises:
      DataError: it raised something.
    """
    try:
        yield
    except Exception as error:
        received = f"{type(error).__name__}: {error}"
        raise DataError(f"detector {name!r}: expected {expected}. Received: {received}") from error


class _Checked:
    """A user's detector, whose answers are looked at before anything is cut out by them."""

    def __init__(self, name: str, detector: Detector) -> None:
        self._name = name
        self._detector = detector

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """See `Detector`.

        Raises:
          DataError: an exception, another number of lists than of images, or a face that isn't one.
        """
        with _blamed(self._name, "one list of faces for each image"):
            answer = [list(faces) for faces in self._detector(images)]
        if len(answer) != len(images):
            received = f"{len(answer)} for {len(images)} images"
            raise DataError(f"detector {self._name!r}: expected one list of faces for each image. Received: {received}")
        return [[self._checked(face) for face in faces] for faces in answer]

    def _checked(self, face: Face) -> Face:
        try:
            box, score, points = face
            found = Face(np.asarray(box, np.float64), float(score), np.asarray(points, np.float64))
        except (TypeError, ValueError):
            found = None
        if (
            found is None
            or (found.box.shape, found.points.shape) != ((4,), (5, 2))
            or not np.isfinite(np.r_[found.box, found.score, found.points.ravel()]).all()
            or not (found.box[2] > found.box[0] and found.box[3] > found.box[1])
        ):
            raise DataError(
                f"detector {self._name!r}: expected faces of a box [left, top, right, bottom], a score and 5 points "
                f"[x, y]. Received: {face!r}"
            )
        return found
