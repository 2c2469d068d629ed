"""Kinds of arguments of the front for Python, and the one check of a call's arguments by them."""

import dataclasses
import functools
import inspect
import numbers
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, ParamSpec, TypeVar

from arcface_common.errors import DataError

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_MOST = 2**63  # NaN, infinity and 400 digits are refused alike
_SHOWN = (str, bytes, int, float, list, tuple, dict, set, type(None))  # other objects are shown by their type's name


@dataclasses.dataclass(frozen=True)
class Kind:
    """What an argument must be.

    Attributes:
      words: that an error says behind "expected".
      holds: whether a value is one.
      shown: an error shows the value; else its type alone, since it may hold a secret.
    """

    words: str
    holds: Callable[[Any], bool]
    shown: bool = True

    def or_none(self) -> "Kind":
        """The same, or None."""
        return Kind(f"{self.words}, or None", lambda value: value is None or self.holds(value), self.shown)


def one_of(*words: str) -> Kind:
    """One of some words."""
    return Kind(f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words)


def is_path(value: Any) -> bool:
    """Whether a value names a place."""
    return isinstance(value, str | os.PathLike) and bool(path := os.fspath(value)) and "\0" not in os.fsdecode(path)


def is_real(value: Any) -> bool:
    """Whether a value is a finite number, of numpy's too; True is none."""
    return not isinstance(value, bool) and issubclass(type(value), numbers.Real) and abs(value) < _MOST


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, Sequence | Set) and not isinstance(value, str | bytes) and all(map(_is_text, value))


def _is_count(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Integral) and 1 <= int(value) < _MOST


ANYTHING = Kind("anything", lambda value: True)  # the call itself says what it must be
PATH = Kind("a path", is_path)
TEXT = Kind("a name", _is_text)
TEXTS = Kind("a list of text", _are_texts, shown=False)
NAMES = Kind("a name, or a list of at least one", lambda value: _is_text(value) or (_are_texts(value) and bool(value)))
COUNT = Kind("a whole number of at least 1", _is_count)
NUMBER = Kind("a number", is_real)
FLAG = Kind("True or False", lambda value: isinstance(value, bool))
CALLABLE = Kind("a function", callable)
MAPPING = Kind("settings by name, such as {'steps': 200}", lambda value: isinstance(value, Mapping))


def checked(**kinds: Kind) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Has a call check each of its arguments before anything else is done.

    Args:
      **kinds: of every parameter but `self`; that of `**parameter` holds for each of its values.

    Returns:
      The decorator. The call raises DataError, which names the argument.
    """

    def decorate(call: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        signature = inspect.signature(call)

        @functools.wraps(call)
        def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            for name, value in signature.bind(*args, **kwargs).arguments.items():
                if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                    for key, one in value.items():
                        check(key, one, kinds[name])
                elif name != "self":
                    check(name, value, kinds[name])
            return call(*args, **kwargs)

        return wrapped

    return decorate


def check(name: str, value: Any, kind: Kind) -> None:
    """Checks one argument.

    Raises:
      DataError: it is of another kind; names it.
    """
    if not kind.holds(value):
        received = reprlib.repr(value) if kind.shown and isinstance(value, _SHOWN) else type(value).__name__
        raise DataError(f"{name}: expected {kind.words}. Received: {received}")
