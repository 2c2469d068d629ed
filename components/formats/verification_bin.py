"""Verification sets as InsightFace publishes them: a `.bin` is a pickle of (list of 2N images, list of N is_same).

The files come from strangers: `data_pickle` reads them. numpy and the standard library only.
"""

import dataclasses
import os
import pickle
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

from arcface_common import filesystem
from arcface_common.bounded_file import read_bounded
from arcface_common.errors import DataError
from arcface_common.features import IMAGE_MAGICS, MAX_SET_MB
from components.formats import data_pickle


class VerificationSetError(DataError):
    """A `.bin` is not a verification set; the message names the file and, where there is one, the pair."""


@dataclasses.dataclass(frozen=True)
class VerificationSet:
    """N pairs of faces in the published order, which is the order of the 10 folds.

    Attributes:
      images: 2N encoded images (JPEG or PNG); pair i is images 2i and 2i + 1.
      is_same: bool [N], whether both show one identity.
    """

    images: list[bytes]
    is_same: np.ndarray

    def __len__(self) -> int:
        """N, the number of pairs."""
        return len(self.is_same)


def bin_path(folder: str, name: str) -> str:
    """The file of a verification set.

    Raises:
      DataError: it isn't there.
    """
    path = os.path.join(folder, f"{name}.bin")
    if not filesystem.exists(path):
        raise DataError(f"{path}: expected a verification set. Received: no such file")
    return path


def read(path: str | os.PathLike[str], *, max_set_mb: int = MAX_SET_MB) -> VerificationSet:
    """Reads a `.bin` that Python 2 or 3 pickled, without running its code.

    Images are bytes or uint8 arrays, [N] or [N, 1]; is_same are bools or the numbers 0 and 1, in a list or an array.

    Args:
      path: the file; all of it is read (75 MB for the 6,000 pairs of LFW), and twice that in memory for a moment.
      max_set_mb: MiB that the file may have.

    Returns:
      The set; an image that several pairs share is one bytes object.

    Raises:
      VerificationSetError: no such pickle, a truncated one, one that wants anything but data, no pairs, lengths that
        do not fit, an image that is neither JPEG nor PNG.
      DataError: the file is too large.
      OSError: the file cannot be read.
    """
    path = os.fspath(path)
    data = read_bounded(path, max_set_mb << 20, "evaluation.max_set_mb")
    try:
        content = data_pickle.load(data)
    except Exception as error:  # a damaged pickle raises what its damaged opcode happens to raise, of any type
        raise VerificationSetError(
            f"{path}: expected a whole pickle of images and bools and nothing else. "
            f"Received: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    content = _plain(content)
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise VerificationSetError(f"{path}: expected (images, is_same). Received: {_describe(content)}")
    images, is_same = (_plain(x) for x in content)
    return _validated(path, images, _flags(is_same))


def write(path: str | os.PathLike[str], images: Sequence[bytes], is_same: Sequence[bool] | np.ndarray) -> None:
    """Writes a `.bin` as InsightFace does (pickle protocol 2, which Python 2 and 3 read); equal images are kept once.

    Args:
      path: the file, replaced if it exists.
      images: 2N encoded images, JPEG or PNG.
      is_same: bool [N].

    Raises:
      VerificationSetError: what `read` would refuse.
    """
    checked = _validated(os.fspath(path), list(images), list(is_same))
    unique: dict[bytes, bytes] = {}  # pickle shares what is one object, so bytes of the file would hang on identity
    shared = [unique.setdefault(image, image) for image in checked.images]
    with open(path, "wb") as file:
        pickle.dump((shared, checked.is_same.tolist()), file, protocol=2)


def _validated(path: str, images: object, is_same: object) -> VerificationSet:
    if not isinstance(images, list | tuple) or not isinstance(is_same, list | tuple):
        received = f"{_describe(images)} and {_describe(is_same)}"
        raise VerificationSetError(f"{path}: expected a list of images and a list of bools. Received: {received}")
    if not is_same or len(images) != 2 * len(is_same):
        raise VerificationSetError(
            f"{path}: expected 2 images for each of at least one pair. "
            f"Received: {len(images)} images, {len(is_same)} pairs"
        )
    known: dict[int, bytes] = {}  # an array that many pairs share becomes bytes once
    for position, image in enumerate(images):
        if id(image) not in known:
            known[id(image)] = _image(path, position, _plain(image))
    return VerificationSet(
        images=[known[id(image)] for image in images],
        is_same=np.array([_flag(path, pair, _plain(flag)) for pair, flag in enumerate(is_same)], np.bool_),
    )


def _plain(value: object) -> object:
    """The array itself, where the unpickler left its stand-in."""
    return value.value if isinstance(value, data_pickle.PickledArray) else value


def _is_flat(value: object) -> TypeGuard[np.ndarray]:
    """Whether it is an array of one dimension, or of several of which all but one are 1."""
    return isinstance(value, np.ndarray) and value.ndim > 0 and value.size == max(value.shape)


def _flags(value: object) -> object:
    """A list of is_same, where it is an array."""
    return value.ravel().tolist() if _is_flat(value) and value.dtype.kind in "biuf" else value


def _image(path: str, position: int, image: object) -> bytes:
    if _is_flat(image) and image.dtype == np.uint8:
        image = image.tobytes()
    if isinstance(image, bytes) and image.startswith(IMAGE_MAGICS):
        return image
    raise VerificationSetError(
        f"{path}: pair {position // 2}, {'second' if position % 2 else 'first'} image: expected an encoded JPEG or PNG "
        f"(bytes or uint8 [N]). Received: {_describe(image)}"
    )


def _flag(path: str, pair: int, flag: object) -> bool:
    if isinstance(flag, bool | int | float | np.bool_ | np.number) and flag in (0, 1):
        return bool(flag)
    raise VerificationSetError(f"{path}: pair {pair}: expected is_same to be a bool. Received: {_describe(flag)}")


def _describe(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes that begin with {value[:8].hex(' ')!r}"
    if isinstance(value, np.ndarray):
        return f"array of {value.dtype} {list(value.shape)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, str | int | float | np.generic):  # of any other object, `str` may take for ever
        return f"{type(value).__name__} {str(value)[:40]!r}"
    return type(value).__name__
