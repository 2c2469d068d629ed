"""A setting: a dataclass field at which its default, its range and its words stand.

Errors, `arcface-tfx settings` and whoever else explains a setting read them from there. Standard library only.
"""

import copy
import dataclasses
import math
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

_RANGE, _ABOUT = "range", "about"


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers between two ends, each None where there is none.

    Attributes:
      low: the least number.
      above: all numbers are greater than this one.
      high: the greatest number.
      below: all numbers are less than this one.
    """

    low: float | None = None
    above: float | None = None
    high: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        ends = (("at least", self.low), ("above", self.above), ("at most", self.high), ("below", self.below))
        return " and ".join(f"{words} {end:,}" for words, end in ends if end is not None) or "a finite number"


def setting(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field. `pipeline.code_version` takes its words for no code.

    Args:
      default: its value where nobody says otherwise; each instance gets a copy.
      about: what it means, with units; the first sentence stands in errors.
      low: see Range.
      above: see Range.
      high: see Range.
      below: see Range.
    """
    metadata = {_RANGE: Range(low, above, high, below), _ABOUT: about}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Described:
    """What there is to say about a setting.

    Attributes:
      name: "section.field".
      default: its value where nobody says otherwise.
      range: the values that it takes, in words.
      about: what it means.
    """

    name: str
    default: Any
    range: str
    about: str


def described(sections: Mapping[str, type]) -> Iterator[Described]:
    """All settings of some dataclasses, in their order.

    Args:
      sections: section -> dataclass, each field of which is a `setting`.
    """
    for section, kind in sections.items():
        defaults, hints = kind(), typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            values = _values(hints[field.name], field.metadata[_RANGE])
            yield Described(f"{section}.{field.name}", getattr(defaults, field.name), values, field.metadata[_ABOUT])


def _values(kind: Any, numbers: Range) -> str:
    """The values that a type and a range allow, in words."""
    origin = typing.get_origin(kind)
    if origin is Literal:
        return " or ".join(typing.get_args(kind))
    if kind in (int, float):
        whole = "a whole number" if kind is int else "a number"
        return whole if numbers == Range() else f"{whole}, {numbers}"
    return {bool: "true or false", str: "text", tuple: "a list", dict: "entries"}[origin or kind]


def check_settings(section: str, settings: Any) -> None:
    """Checks each setting by itself.

    Args:
      section: the section's name, for the message.
      settings: an instance of a dataclass of `setting`s.

    Raises:
      ValueError: a number out of its range, NaN and infinity among them, or a word that is not among those to choose
        from.
    """
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value, numbers = getattr(settings, field.name), field.metadata[_RANGE]
        choices = typing.get_args(hints[field.name]) if typing.get_origin(hints[field.name]) is Literal else ()
        if hints[field.name] in (int, float) and value not in numbers:
            refuse(section, settings, field.name, str(numbers if math.isfinite(value) else Range()))
        if choices and value not in choices:
            refuse(section, settings, field.name, f"one of {', '.join(choices)}")


def refuse(section: str, settings: Any, name: str, expected: str) -> typing.NoReturn:
    """Refuses a setting's value, and says what the setting means.

    Args:
      section: the section's name.
      settings: an instance of a dataclass of `setting`s.
      name: of the field.
      expected: what its value must be, in words.

    Raises:
      ValueError: always.
    """
    [field] = [field for field in dataclasses.fields(settings) if field.name == name]
    first = field.metadata[_ABOUT].partition(". ")[0].rstrip(".")
    raise ValueError(f"{section}.{name} must be {expected} ({first}). Received: {name}={getattr(settings, name)!r}")
