"""Settings as a person writes them, `section.name=value`: names looked up, values converted to their fields' types."""

import dataclasses
import difflib
import math
import re
import typing
from collections.abc import Mapping
from typing import Any

import yaml

from arcface_common.errors import DataError, did_you_mean

# TFX's protos hold int32.
_GREATEST = 2**31 - 1


class ConfigError(DataError):
    """A setting that doesn't exist or whose value is not allowed."""


_TAG = "tag:yaml.org,2002:"
_NUMBERS = {
    f"{_TAG}int": re.compile(r"[-+]?\d[\d_]*$"),
    f"{_TAG}float": re.compile(r"([-+]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers: 1e-3 is one, 010 is ten and 1:30 is text, unlike YAML 1.1's. No aliases: they multiply."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag not in _NUMBERS]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node of the text.

        Raises:
          yaml.YAMLError: it is an alias of another one.
        """
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias")
        return super().compose_node(parent, index)

    def construct_decimal(self, node: yaml.ScalarNode) -> int:
        """An integer in base 10, whatever it begins with."""
        return int(node.value)


for _tag, _form in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, _form, list("-+.0123456789"))
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_decimal)


def load_yaml(text: bytes) -> Any:
    """What YAML 1.2 text stands for.

    Raises:
      yaml.YAMLError, ValueError, RecursionError: it is none, or has an alias.
    """
    return yaml.load(text, _Loader)


def parse_override(text: str) -> tuple[str, str]:
    """Name and value of `section.name=value`, the value as it was written.

    Raises:
      ConfigError: no equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set expects section.name=value, e.g. train.steps=200. Received: {text!r}")
    return name.strip(), value


def _like(name: str, sections: Mapping[str, type]) -> str:
    """What an error about an unknown name ends in: the setting that was meant; its section may be missing or wrong."""
    fields = {f"{section}.{f.name}": f.name for section, kind in sections.items() for f in dataclasses.fields(kind)}
    field = name.rpartition(".")[2]
    same = [full for full, own in fields.items() if own == field]
    if same or did_you_mean(name, fields):
        return did_you_mean(same[0] if same else name, fields)
    close = difflib.get_close_matches(field, fields.values(), n=1)
    return did_you_mean(next(full for full, own in fields.items() if own == close[0]), fields) if close else ""


def assign(
    values: dict[str, dict[str, Any]], sections: Mapping[str, type], name: str, value: Any, *, written: bool = False
) -> None:
    """Puts a value where its dotted name says, converted to the field's type.

    Args:
      values: section -> field -> value; changed.
      sections: section -> dataclass of its fields.
      name: "section.field", or "section.field.key" for an entry of a dict.
      value: the value, or its YAML if `written`.
      written: a person wrote it.

    Raises:
      ConfigError: no such setting, or a value that its type doesn't take.
    """
    section, _, rest = name.partition(".")
    field, _, key = rest.partition(".")
    hints = typing.get_type_hints(sections[section]) if section in sections else {}
    if field not in hints:
        raise ConfigError(
            f"expected a setting (`arcface-tfx settings` lists them). Received: {name!r}{_like(name, sections)}"
        )
    kind = hints[field]
    if not key:
        values[section][field] = _read(name, kind, value) if written else converted(name, kind, value)
        return
    if typing.get_origin(kind) is not dict:
        raise ConfigError(f"{section}.{field} has no entries of its own. Received: {name!r}")
    entry_kind = typing.get_args(kind)[1]
    entry = _read(name, entry_kind, value) if written else converted(name, entry_kind, value)
    defaults = {} if field in values[section] else getattr(sections[section](), field)
    values[section][field] = {**defaults, **values[section].get(field, {}), key: entry}


def _read(name: str, kind: Any, text: str) -> Any:
    """The value that YAML text stands for; where text is wanted, 010 and null are text."""
    is_text = kind is str or typing.get_origin(kind) in (tuple, typing.Literal)
    try:
        value = yaml.load(text, yaml.BaseLoader if is_text else _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: the 31st of February
        problem = getattr(error, "problem", None) or type(error).__name__
        raise ConfigError(f"{name}: expected a value as YAML. Received: {text!r} ({problem})") from error
    return converted(name, kind, "" if is_text and value is None else value)


def converted(name: str, kind: Any, value: Any) -> Any:
    """A value in its field's type.

    Raises:
      ConfigError: a value that the type doesn't take, NaN and infinity among them.
    """
    try:
        return _converted(kind, value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        expected = getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else kind
        reason = f" ({error})" if str(error) and isinstance(error, _Refused) else ""
        raise ConfigError(f"{name} expects a value of type {expected}. Received: {_short(value)}{reason}") from error


class _Refused(ValueError):
    """With a reason that a person understands."""


def _converted(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise _Refused
        return tuple(_converted(str, part).strip() for part in parts)
    if origin is dict:
        if not isinstance(value, dict):
            raise _Refused
        return {_converted(str, key): _converted(typing.get_args(kind)[1], entry) for key, entry in value.items()}
    if origin is typing.Literal or kind is str:
        if not isinstance(value, str):
            raise _Refused
        if not value.isprintable():
            raise _Refused("a character that can't be printed")
        return value
    if kind is Any:
        return _plain(value)
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, bool | int | float | str):
        raise _Refused
    number = kind(value)
    if kind is int and float(value) != number:
        raise _Refused
    return _in_range(number)


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if value is not None and not isinstance(value, bool | int | float | str):
        raise _Refused(f"{type(value).__name__}, expected numbers, text, true, false, null, or lists of them")
    return _in_range(value)


def _in_range(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise _Refused("not a finite number")
    if isinstance(value, int) and abs(value) > _GREATEST:
        raise _Refused(f"beyond {_GREATEST:,}")
    return value


def _short(value: Any) -> str:
    """A value as it stands, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
