"""Settings in a YAML file: what `--set` takes, by section; `settings.yaml` of a run is one."""

import dataclasses
import json
import re
from typing import Any, Self

from arcface_common.bounded_file import MAX_TABLE_BYTES, read_bounded
from arcface_common.console import say
from arcface_common.errors import ConfigError, did_you_mean
from pipeline.beam import beam_args
from pipeline.overrides import YamlError, load_yaml
from pipeline.sections import SECTIONS

_NAMES = ("preset", "data", "root")
# A run's own file has these, too: what it is called, what it found, and where Beam ran.
_NOT_TAKEN = ("name", "init_digest", "beam_args")
# What YAML takes for a line's end, or refuses. Above U+FFFF, JSON's escapes are two characters of YAML's.
_NOT_YAML = re.compile("[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


@dataclasses.dataclass(frozen=True)
class ConfigFile:
    """What such a file asks for.

    Attributes:
      path: the file.
      preset: a name in `presets.PRESETS`, or None.
      data: folder of the data set, or None.
      root: folder of everything that a run writes, or None.
      overrides: "section.name=value" each, as `--set` has them.
    """

    path: str
    preset: str | None = None
    data: str | None = None
    root: str | None = None
    overrides: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str) -> Self:
        """Reads a file; its settings are looked at where `--set`'s are.

        Raises:
          ConfigError: no YAML, no such section, or text that is none.
          DataError: it is too large.
        """
        content = read_bounded(path, MAX_TABLE_BYTES, "MAX_TABLE_BYTES")
        try:
            found = load_yaml(content)
        except YamlError as error:
            raise ConfigError(f"{path}: expected settings as YAML. Received: {error}") from error
        if not isinstance(found, dict):
            raise ConfigError(f"{path}: expected sections of settings. Received: {type(found).__name__}")
        known = (*_NAMES, *SECTIONS)
        for name in found:
            if name not in (*known, *_NOT_TAKEN):
                like = did_you_mean(str(name), known)
                raise ConfigError(f"{path}: expected {', '.join(known)}. Received: {name!r}{like}")
        of_a_run = [name for name in _NOT_TAKEN if name in found]
        if of_a_run and len(of_a_run) < len(_NOT_TAKEN):
            raise ConfigError(
                f"{path}: expected {', '.join(known)}. Received: {of_a_run[0]!r}, which a run writes and nobody reads"
            )
        if found.get("beam_args", where := list(beam_args())) != where:
            say(f"{path}: Beam's options are not taken from it; --beam-runner and --beam-arg say where Beam runs")
        for name in _NAMES:
            if not isinstance(found.get(name, ""), str):
                raise ConfigError(f"{path}: {name}: expected text. Received: {found[name]!r}")
        overrides = []
        for section in SECTIONS:
            settings = {} if found.get(section) is None else found[section]
            if not isinstance(settings, dict):
                raise ConfigError(f"{path}: {section}: expected settings by name. Received: {settings!r}")
            for name, value in settings.items():
                if (section, name, value) != ("train", "init_from", ""):  # which names no network
                    overrides.append(as_override(f"{section}.{name}", value))
        return cls(path, **{name: found.get(name) or None for name in _NAMES}, overrides=tuple(overrides))


def as_override(name: str, value: Any) -> str:
    """A setting as the command line writes it; JSON is YAML.

    Raises:
      ConfigError: a value that JSON can't hold, or a name that is none.
    """
    if "=" in name:
        raise ConfigError(f"expected the name of a setting. Received: {name!r}")
    try:
        return f"{name}={_NOT_YAML.sub(_escaped, json.dumps(value, ensure_ascii=False))}"
    except (TypeError, ValueError) as error:
        raise ConfigError(f"expected a plain value as {name}. Received: {value!r}") from error


def _escaped(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"
