"""Reads pickles of strangers that hold images and flags: data alone, and no more memory than a few times the file.

A pickle can run code, and 9 bytes of one can ask for 17 GB. So its opcodes are looked at first: those that make no data
are refused, and memo places, numbers and the count of opcodes are bounded by the file. Then no global that it names is
ever looked up: the few names that honest files use (`_codecs.encode`, numpy's array and scalar constructors, under the
module names of numpy 1 and 2) are answered by functions of this module that build bytes and arrays of numbers.
"""

import functools
import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, Never

import numpy as np

_DTYPES = frozenset(("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "b1", "f4", "f8"))
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT "
    "BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 PUT BINPUT "
    "LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD".split()
)
# An image takes 1 to 12 opcodes and at least 125 bytes. An opcode can make an object of 100 bytes, so that beyond the
# first million, 100 MB, memory stays within 12 times the file.
_FREE_OPCODES = 2**20
_BYTES_AN_OPCODE = 8
_MOST_SIDES = 32  # numpy 1's limit of dimensions
_LONGEST_WORD = 16  # characters of a dtype, a byte order or an encoding


def load(data: bytes) -> object:
    """What a pickle of Python 2 or 3 holds: lists, tuples, bytes, texts, numbers, and `PickledArray` for arrays.

    Raises:
      Exception: of any type, since a damaged pickle raises what its damaged opcode happens to raise;
        `pickle.UnpicklingError` where the file wants anything but data.
    """
    check_opcodes(data)
    return DataUnpickler(data).load()


def check_opcodes(data: bytes) -> None:
    """Looks at every opcode before any is obeyed.

    Raises:
      ValueError: an opcode that is none, or whose data are not all there.
      pickle.UnpicklingError: an opcode that makes no data, a memo place or a number that no honest file has, or more
        opcodes than the file's size allows.
    """
    most = _FREE_OPCODES + len(data) // _BYTES_AN_OPCODE
    for count, (opcode, argument, place) in enumerate(pickletools.genops(data), 1):
        if opcode.name not in _OPCODES:
            raise pickle.UnpicklingError(f"opcode {opcode.name} at byte {place}, which makes no image data")
        if isinstance(argument, int):
            if opcode.name.endswith("PUT") and not 0 <= argument <= count:
                raise pickle.UnpicklingError(f"memo place {argument} at byte {place}, after {count} opcodes")
            if argument.bit_length() > 64:
                raise pickle.UnpicklingError(f"a number of {argument.bit_length()} bits at byte {place}")
        if count > most:
            raise pickle.UnpicklingError(f"more than {most:,} opcodes in {len(data):,} bytes")


class _Budget:
    """Bytes that a pickle may still make: one text or buffer that is used again and again would take any memory.

    Args:
      left: bytes.
    """

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, size: int) -> None:
        """Takes some, or raises."""
        self._left -= size
        if self._left < 0:
            raise pickle.UnpicklingError("more bytes made than the file holds")


class _Dtype:
    """Stands for a `numpy.dtype` while a pickle builds it: only numbers and bools, of either byte order."""

    def __init__(self, budget: _Budget, code: object, *_: object) -> None:
        self._budget = budget
        self._code = _text(code)
        self._order = "|"
        if self._code not in _DTYPES:
            raise pickle.UnpicklingError(f"a dtype {self._code!r} where only numbers and bools may be")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = _text(state[1])
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"a dtype of byte order {order!r}")
        self._order = order

    def array(self, data: object, shape: object, fortran: bool) -> np.ndarray:
        """The array that `data` spells out; numpy checks nothing that comes from the file before this."""
        dtype = np.dtype(self._order + self._code)
        sides = (shape,) if isinstance(shape, int) else shape
        if not isinstance(data, bytes | bytearray) or not isinstance(sides, tuple) or len(sides) > _MOST_SIDES:
            raise pickle.UnpicklingError("an array without plain data")
        if not all(isinstance(x, int) and x >= 0 for x in sides):
            raise pickle.UnpicklingError("an array whose shape is not of whole numbers from 0 on")
        if math.prod(sides) * dtype.itemsize != len(data):
            raise pickle.UnpicklingError(f"an array of shape {sides} in {len(data)} bytes")
        self._budget.take(len(data))
        return np.frombuffer(data, dtype).reshape(sides, order="F" if fortran else "C")


class PickledArray:
    """Stands for a `numpy.ndarray` while a pickle builds it.

    Attributes:
      value: the array; None where the pickle never said what is in it.
    """

    def __init__(self, value: np.ndarray | None = None) -> None:
        self.value = value

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _dtype(dtype).array(data, shape, bool(fortran))


def _text(value: object) -> str:
    """A short str, which Python 2 pickled as bytes.

    Nothing else is looked at, not even for a message: 40 tuples that each hold the one before twice take 200 bytes,
    and `str` of them 2**40 steps. A long text could be named a million times.
    """
    if not isinstance(value, str | bytes):
        raise pickle.UnpicklingError(f"a {type(value).__name__} where a name must be")
    if len(value) > _LONGEST_WORD:
        raise pickle.UnpicklingError(f"a name of {len(value):,} characters")
    return value.decode("ascii") if isinstance(value, bytes) else value


def _dtype(value: object) -> _Dtype:
    if not isinstance(value, _Dtype):
        raise pickle.UnpicklingError(f"a {type(value).__name__} where a dtype must be")
    return value


def _encode(budget: _Budget, text: object, encoding: object) -> bytes:
    name = _text(encoding)
    if not isinstance(text, str) or name not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"_codecs.encode of a {type(text).__name__} to {name!r}")
    budget.take(len(text))
    return text.encode("latin-1")


def _empty_bytes() -> bytes:
    return b""


def _reconstruct(*_: object) -> PickledArray:
    return PickledArray()


def _scalar(dtype: object, data: object) -> object:
    return _dtype(dtype).array(data, (), False)[()]


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> PickledArray:
    return PickledArray(_dtype(dtype).array(data, shape, _text(order) == "F"))


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
    ("__builtin__", "bytes"): _empty_bytes,
    ("builtins", "bytes"): _empty_bytes,
    ("numpy", "ndarray"): _reconstruct,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class DataUnpickler(pickle.Unpickler):
    """Builds what the opcodes say; nothing is imported, whatever the file asks for.

    Args:
      data: the pickle.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._budget = _Budget(2 * len(data))  # a text is encoded, and an array made of what comes out
        self._names: dict[tuple[str, str], Callable[..., object]] = {
            **_NAMES,
            ("_codecs", "encode"): functools.partial(_encode, self._budget),
            ("numpy", "dtype"): functools.partial(_Dtype, self._budget),
        }

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        """The stand-in of an admitted name."""
        function = self._names.get((module, name))
        if function is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}"[:120] + ", which is no image data")
        return _Name(function)
