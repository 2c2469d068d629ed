"""Sections of settings: dataclasses that pydantic checks, at whose fields default, range and words stand.

Errors, `arcface-tfx settings` and whoever else explains a setting read them from there.
"""

import dataclasses
import json
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from arcface_common.errors import ConfigError, cut, did_you_mean

_Section = TypeVar("_Section", bound=type)
_GREATEST = 2**31 - 1  # TFX's protos hold int32
_LEAST_FLOAT, _GREATEST_FLOAT = 2.0**-126, (2 - 2.0**-23) * 2.0**127  # of float32, to the bit
_SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)\. ")
_ENDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def _whole(value: Any) -> Any:
    """1e3 as a whole number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and abs(value) > _GREATEST:
        raise ValueError(f"beyond {_GREATEST:,}")
    return value


def _in_float32(value: float) -> float:
    """A number that stays what it is where networks compute."""
    if value and not _LEAST_FLOAT <= abs(value) <= _GREATEST_FLOAT:
        raise ValueError("beyond float32")
    return value


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a character that can't be printed")
    return text


def _names(value: Any) -> Any:
    """A list, or text with commas, as a tuple."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return value
    return tuple(part.strip() if isinstance(part, str) else part for part in parts)


def _wholes(value: Any) -> Any:
    """One whole number, a list, or text with commas, as a tuple."""
    if isinstance(value, str):
        value = [int(part) for part in value.split(",")]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = [value]
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if value is not None and not isinstance(value, bool | int | float | str):
        raise ValueError(f"{type(value).__name__}, expected numbers, text, true, false, null, or lists of them")
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise ValueError("not a finite number")
    return _whole(value) if isinstance(value, int) else value


# What a field is beside bool and Literal. Pydantic's strict rules hold: neither true nor "3" is a number.
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, AfterValidator(_in_float32)]
Text = Annotated[str, AfterValidator(_printable)]
Names = Annotated[tuple[Text, ...], BeforeValidator(_names)]
Wholes = Annotated[tuple[Whole, ...], BeforeValidator(_wholes)]
Options = dict[Text, Annotated[Any, AfterValidator(_plain)]]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def section(name: str) -> Callable[[_Section], _Section]:
    """Makes a class a section of settings: a frozen dataclass that checks its fields, after `dataclasses.replace` too.

    >>> @section("train")
    ... class TrainSettings:
    ...     steps: Whole = Field(default=1000, ge=0, description="Optimizer steps.")
    >>> TrainSettings(steps=-1)
    Traceback (most recent call last):
    arcface_common.errors.ConfigError: train.steps must be at least 0 (Optimizer steps). Received: steps=-1

    Args:
      name: of the section, for the errors.

    Returns:
      The decorator. The class raises ConfigError where a field is unknown or its value not allowed.
    """

    def decorate(cls: _Section) -> _Section:
        checked: Any = dataclass(
            frozen=True,
            kw_only=True,
            config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False),
        )(cls)
        build = checked.__init__

        def in_words(self: Any, **values: Any) -> None:
            try:
                build(self, **values)
            except ValidationError as error:
                raise _refusal(checked, values, error) from error

        checked.__init__, checked.section_name = in_words, name
        return checked

    return decorate


def _refusal(kind: Any, values: Mapping[str, Any], error: ValidationError) -> ConfigError:
    """What pydantic found first, in our words."""
    found = error.errors(include_url=False)[0]
    reason = found.get("ctx", {}).get("error")
    if isinstance(reason, ConfigError):  # of __post_init__
        return reason
    name = str(found["loc"][0])
    if name not in kind.__pydantic_fields__:
        like = did_you_mean(name, kind.__pydantic_fields__)
        return ConfigError(f"expected a setting of {kind.section_name}. Received: {name!r}{like}")
    field = kind.__pydantic_fields__[name]
    expected = _range(field) if found["type"].startswith(("greater", "less")) else _values(field)
    like = did_you_mean(str(values[name]), _words(field)) if isinstance(values[name], str) else ""
    if isinstance(values[name], dict) and found["loc"][1:]:
        reason = f"{found['loc'][1]}: {reason or found['msg'].replace('Input should be', 'expected')}"
    return _error(kind, name, expected, values[name], f" ({reason})" if reason else like)


def _error(kind: Any, name: str, expected: str, value: Any, reason: str = "", instead: str = "") -> ConfigError:
    about = _SENTENCE_END.split(kind.__pydantic_fields__[name].description, maxsplit=1)[0].rstrip(".")
    shown = _shown(value)
    setting = f"{kind.section_name}.{name}"
    return ConfigError(f"{setting} must be {expected} ({about}). Received: {name}={shown}{reason}", {setting: instead})


def _shown(value: Any) -> str:
    """A value in an error: a list and null as YAML writes them, whatever holds them here."""
    return "null" if value is None else cut(repr(list(value) if isinstance(value, tuple) else value))


def require(settings: Any, name: str, holds: bool, expected: str) -> None:
    """Refuses a setting's value unless something holds, and says what the setting means.

    Args:
      settings: a section.
      name: of its field.
      holds: the value is allowed.
      expected: what it must be, in words.

    Raises:
      ConfigError: it doesn't hold.
    """
    if not holds:
        raise _error(type(settings), name, expected, getattr(settings, name))


def refuse_unused(unused: Iterable[tuple[Any, str, str]]) -> None:
    """Refuses settings that would be ignored, all in one error; a default is no wish.

    Args:
      unused: of each the section, the name of its field, and why it would be ignored, such as "with train.workers=1".

    Raises:
      ConfigError: some are not at their defaults.
    """
    errors = dict[tuple[str, str], ConfigError]()
    for settings, name, why in unused:
        kind, value = type(settings), getattr(settings, name)
        default = kind.__pydantic_fields__[name].get_default(call_default_factory=True)
        if value != default:
            expected = f"left at {_shown(default)} {why}, which ignores it"
            written = default if isinstance(default, str) else json.dumps(default)
            errors.setdefault((kind.section_name, name), _error(kind, name, expected, value, instead=written))
    if errors:
        instead = {setting: value for error in errors.values() for setting, value in error.instead.items()}
        raise ConfigError("; ".join(map(str, errors.values())), instead)


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
    """All settings of some sections, in their order.

    Args:
      sections: name -> class made by `section`.
    """
    for name, kind in sections.items():
        fields: dict[str, FieldInfo] = kind.__pydantic_fields__  # type: ignore[attr-defined]
        for field, info in fields.items():
            default = info.get_default(call_default_factory=True)
            yield Described(f"{name}.{field}", default, _values(info), info.description or "")


def _words(field: FieldInfo) -> tuple[str, ...]:
    """The words of which a field takes one; none where it takes other things."""
    return typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()


def _range(field: FieldInfo) -> str:
    """The range of a number in words, "" where it has none."""
    ends = {words: getattr(one, end) for end, words in _ENDS.items() for one in field.metadata if hasattr(one, end)}
    return " and ".join(f"{words} {end:,}" for words, end in ends.items())


def _values(field: FieldInfo) -> str:
    """The values that a field takes, in words."""
    kind = typing.get_origin(field.annotation) or field.annotation
    if kind is Literal:
        return " or ".join(_words(field))
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if kind is tuple:
        (entry, *_) = typing.get_args(typing.get_args(field.annotation)[0])
        return f"a list of {'text' if entry is str else 'whole numbers'}"
    if kind is typing.Union:  # of a number and null
        return f"a number, {_range(field)}, or null"
    return ", ".join(filter(None, (words.get(kind, "entries by name"), _range(field))))  # type: ignore[arg-type]
