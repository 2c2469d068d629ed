"""Verification sets as InsightFace publishes them: a `.bin` is a pickle of (list of 2N images, list of N is_same).

The files come from strangers, and a pickle can run code. So no global that a file names is ever looked up: the few
names that honest files use (`_codecs.encode`, numpy's array and scalar constructors, under the module names of numpy 1
and 2) are answered by functions of this module that build bytes, arrays of integers and bools; all else is refused.
numpy and the standard library only.
"""

import dataclasses
import math
import os
import pickle
from collections.abc import Callable, Sequence
from typing import Any, Never

import numpy as np

from components.recordio.records import OpenFile, open_local
from trainer_module.errors import DataError

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_DTYPES = frozenset(("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "b1"))


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


def read(path: str | os.PathLike[str], *, open_file: OpenFile = open_local) -> VerificationSet:
    """Reads a `.bin` that Python 2 or 3 pickled, with images as bytes or as uint8 arrays, without running its code.

    Args:
      path: the file; all of it is read (75 MB for the 6,000 pairs of LFW).
      open_file: opens a path on another file system.

    Returns:
      The set; an image that several pairs share is one bytes object.

    Raises:
      VerificationSetError: no such pickle, a truncated one, one that wants anything but data, no pairs, lengths that
        do not fit, an image that is neither JPEG nor PNG.
      OSError: the file cannot be read.
    """
    path = os.fspath(path)
    with open_file(path) as file:
        try:
            content = _DataUnpickler(file, encoding="bytes").load()
        except OSError:
            raise
        except Exception as error:  # a damaged pickle raises what its damaged opcode happens to raise, of any type
            raise VerificationSetError(
                f"{path}: expected a whole pickle of images and bools and nothing else. "
                f"Received: {type(error).__name__}: {error}"
            ) from error
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise VerificationSetError(f"{path}: expected (images, is_same). Received: {_describe(content)}")
    return _validated(path, *(_plain(x) for x in content))


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
    return VerificationSet(
        images=[_image(path, position, _plain(image)) for position, image in enumerate(images)],
        is_same=np.array([_flag(path, pair, _plain(flag)) for pair, flag in enumerate(is_same)], np.bool_),
    )


def _image(path: str, position: int, image: object) -> bytes:
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 1:
        image = image.tobytes()
    if isinstance(image, bytes) and image.startswith((_JPEG, _PNG)):
        return image
    raise VerificationSetError(
        f"{path}: pair {position // 2}, {'second' if position % 2 else 'first'} image: expected an encoded JPEG or PNG "
        f"(bytes or uint8 [N]). Received: {_describe(image)}"
    )


def _flag(path: str, pair: int, flag: object) -> bool:
    if isinstance(flag, bool | int | np.bool_ | np.integer) and flag in (0, 1):
        return bool(flag)
    raise VerificationSetError(f"{path}: pair {pair}: expected is_same to be a bool. Received: {_describe(flag)}")


def _describe(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes that begin with {value[:8].hex(' ')!r}"
    if isinstance(value, np.ndarray):
        return f"array of {value.dtype} {list(value.shape)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {str(value)[:40]!r}"


def _text(value: object) -> str:
    """A str, which Python 2 pickled as bytes."""
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


class _Dtype:
    """Stands for a `numpy.dtype` while a pickle builds it: only integers and bools, of either byte order."""

    def __init__(self, code: object, *_: object) -> None:
        self._code = _text(code)
        self._order = "|"
        if self._code not in _DTYPES:
            raise pickle.UnpicklingError(f"a dtype {self._code!r:.40} where only integers and bools may be")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = _text(state[1])
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"a dtype of byte order {order!r:.40}")
        self._order = order

    def array(self, data: object, shape: object, fortran: bool) -> np.ndarray:
        """The array that `data` spells out; numpy checks nothing that comes from the file before this."""
        dtype = np.dtype(self._order + self._code)
        sides = (shape,) if isinstance(shape, int) else shape
        if not isinstance(data, bytes | bytearray) or not isinstance(sides, tuple):
            raise pickle.UnpicklingError("an array without plain data")
        if not all(isinstance(x, int) and x >= 0 for x in sides) or math.prod(sides) * dtype.itemsize != len(data):
            raise pickle.UnpicklingError(f"an array of shape {sides!r:.40} in {len(data)} bytes")
        return np.frombuffer(bytes(data), dtype).reshape(sides, order="F" if fortran else "C")


class _Array:
    """Stands for a `numpy.ndarray` while a pickle builds it."""

    def __init__(self, value: np.ndarray | None = None) -> None:
        self.value = value

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _dtype(dtype).array(data, shape, bool(fortran))


def _plain(value: object) -> object:
    """The array itself, where the unpickler left its stand-in."""
    if isinstance(value, _Array):
        value = value.value
    return list(value) if isinstance(value, np.ndarray) and value.dtype == np.bool_ and value.ndim == 1 else value


def _dtype(value: object) -> _Dtype:
    if not isinstance(value, _Dtype):
        raise pickle.UnpicklingError(f"a {type(value).__name__} where a dtype must be")
    return value


def _encode(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or _text(encoding) not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"_codecs.encode to {encoding!r:.40}")
    return text.encode("latin-1")


def _empty_bytes() -> bytes:
    return b""


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _scalar(dtype: object, data: object) -> object:
    return _dtype(dtype).array(data, (), False)[()]


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> _Array:
    return _Array(_dtype(dtype).array(data, shape, _text(order) == "F"))


class _Name:
    """A name that a pickle may call, and to which it can do nothing else (`BUILD` sets attributes of plain ones)."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setstate__(self, state: object) -> Never:
        raise pickle.UnpicklingError("an attempt to change a function")


_NAMES: dict[tuple[str, str], Callable[..., object]] = {
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty_bytes,
    ("builtins", "bytes"): _empty_bytes,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _reconstruct,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., object]:
        """The stand-in of an admitted name; nothing is imported, whatever the file asks for."""
        function = _NAMES.get((module, name))
        if function is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}"[:120] + ", which is no image data")
        return _Name(function)
