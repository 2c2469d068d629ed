"""Settings as a person writes them, `section.name=value`: names looked up, values read as YAML."""

import dataclasses
import difflib
import re
import typing
from collections.abc import Mapping
from typing import Any

import yaml

from arcface_common.errors import ConfigError, argument
from pipeline import other_names

_TAG = "tag:yaml.org,2002:"
_NUMBERS = {
    f"{_TAG}int": re.compile(r"[-+]?\d[\d_]*$"),
    f"{_TAG}float": re.compile(r"([-+]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
}


_LONGEST_NUMBER = 4000  # characters; Python refuses to read 4,301 digits
_SHOWN = 200  # characters of what a person wrote


def _refused(problem: str, where: Any) -> yaml.YAMLError:
    """An error that knows its line; `where` is an event or a node."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


class _PlainMixin(yaml.composer.Composer):
    """Of a loader, which parses, too: no aliases, which multiply what they name, no tags, which ask for other kinds."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node of the text.

        Raises:
          yaml.YAMLError: it is an alias of another one, or has a tag.
        """
        event: yaml.Event = self.peek_event()  # type: ignore[attr-defined]
        if isinstance(event, yaml.AliasEvent):
            raise _refused("an alias", event)
        if tag := getattr(event, "tag", None):
            raise _refused(f"a tag, {tag.replace(_TAG, '!!')}", event)
        return super().compose_node(parent, index)


class _TextLoader(_PlainMixin, yaml.BaseLoader):
    """Everything that is no list or map is text."""


class _Loader(_PlainMixin, yaml.SafeLoader):
    """YAML 1.2's numbers: 1e-3 is one, 010 is ten and 1:30 is text, unlike YAML 1.1's. Dates are text, too."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag not in (*_NUMBERS, f"{_TAG}timestamp")]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Entries by key.

        Raises:
          yaml.YAMLError: a key stands there twice, of which YAML's loader would take the last.
        """
        known: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in known:
                raise _refused(f"{key.value!r} twice", key)
            known.add(str(key.value))
        return super().construct_mapping(node, deep)

    def construct_decimal(self, node: yaml.ScalarNode) -> int:
        """An integer in base 10, whatever it begins with."""
        if len(node.value) > _LONGEST_NUMBER:
            raise _refused(f"a number of {len(node.value):,} characters", node)
        return int(node.value)


for _tag, _form in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, _form, list("-+.0123456789"))
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_decimal)


class YamlError(ValueError):
    """Text is no YAML that settings are written in; the message says what it is, and in which line."""


def load_yaml(text: bytes | str, *, as_text: bool = False) -> Any:
    """What YAML 1.2 text stands for.

    Args:
      text: in UTF-8, if bytes.
      as_text: leave everything that is no list or map as text.

    Raises:
      YamlError: it is none, or has an alias, a tag or a key twice.
    """
    try:
        return yaml.load(text, _TextLoader if as_text else _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" in line {mark.line + 1}" if mark else ""
        raise YamlError(f"{error.problem or error.context}{line}") from error
    except yaml.reader.ReaderError as error:
        raise YamlError(f"no text that can be read: {error.reason}, at place {error.position:,}") from error
    except RecursionError as error:
        raise YamlError("lists or maps in each other, too many to be read") from error


def parse_override(text: str) -> tuple[str, str]:
    """Name and value of `section.name=value`, the value as it was written.

    Raises:
      ConfigError: no equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{argument('set')} expects section.name=value, e.g. train.steps=200. Received: {text!r}")
    return name.strip(), value


def _like(name: str, sections: Mapping[str, type]) -> str:
    """What an error about an unknown name ends in: the setting that was meant; its section may be missing or wrong."""
    ours = [f"{section}.{field.name}" for section, kind in sections.items() for field in dataclasses.fields(kind)]
    named = [(full.partition(".")[2], full) for full in ours]
    named += [(theirs, full) for theirs, full in other_names.SETTINGS.items() if full in ours]
    word = name.rpartition(".")[2].casefold()
    meant = [full for field, full in named if word in (field, _initials(field))]
    # Sections are left out of what is compared: "train.flip" is like "train.fp16" for its section alone.
    close = difflib.get_close_matches(word, [field for field, _ in named], n=1, cutoff=0.65)
    meant += [full for field, full in named if field in close]
    return f"; did you mean {meant[0]!r}?" if meant else ""


def _initials(name: str) -> str:
    """What people write for a name of several words: "lr" for "learning_rate"; else the name."""
    words = name.split("_")
    return "".join(word[:1] for word in words) if len(words) > 1 else name


def assign(
    values: dict[str, dict[str, Any]], sections: Mapping[str, type], name: str, value: Any, *, written: bool = False
) -> None:
    """Puts a value where its dotted name says; the section itself checks it.

    Args:
      values: section -> field -> value; changed.
      sections: name -> class made by `setting.section`.
      name: "section.field", or "section.field.key" for an entry of a dict.
      value: the value, or its YAML if `written`.
      written: a person wrote it.

    Raises:
      ConfigError: no such setting, or no YAML.
    """
    section, _, rest = name.partition(".")
    field, _, key = rest.partition(".")
    hints = typing.get_type_hints(sections[section]) if section in sections else {}
    if field not in hints:
        raise ConfigError(
            f"expected a setting (`arcface-tfx settings` lists them). Received: {name!r}{_like(name, sections)}"
        )
    if key and typing.get_origin(hints[field]) is not dict:
        raise ConfigError(f"{section}.{field} has no entries of its own. Received: {name!r}")
    if written:
        value = _read(name, Any if key else hints[field], value)
    values[section][field] = {**values[section].get(field, {}), key: value} if key else value


def _read(name: str, kind: Any, text: str) -> Any:
    """The value that YAML text stands for; where text is wanted, 010 and null are text."""
    is_text = kind is str or kind == tuple[str, ...] or typing.get_origin(kind) is typing.Literal
    try:
        value = load_yaml(text, as_text=is_text)
    except YamlError as error:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise ConfigError(f"{name}: expected a value as YAML. Received: {shown!r} ({error})") from error
    return "" if is_text and value is None else value
