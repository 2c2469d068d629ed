"""Settings in a YAML file: what `--set` takes, by section; `settings.yaml` of a run is one."""

import dataclasses
import json
from typing import Any, Self

import yaml

from arcface_common.bounded_file import MAX_TABLE_BYTES, read_bounded
from arcface_common.errors import ConfigError, did_you_mean
from pipeline.overrides import load_yaml
from pipeline.sections import SECTIONS

_NAMES = ("preset", "data", "root")
# A run's own file has these, too: what it is called, what it found, and where Beam ran.
_NOT_TAKEN = ("name", "init_digest", "beam_args")


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
        try:
            found = load_yaml(read_bounded(path, MAX_TABLE_BYTES, "MAX_TABLE_BYTES"))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            problem = getattr(error, "problem", None) or type(error).__name__
            raise ConfigError(f"{path}: expected settings as YAML. Received: {problem}") from error
        if not isinstance(found, dict):
            raise ConfigError(f"{path}: expected sections of settings. Received: {type(found).__name__}")
        known = (*_NAMES, *SECTIONS)
        for name in found:
            if name not in (*known, *_NOT_TAKEN):
                like = did_you_mean(str(name), known)
                raise ConfigError(f"{path}: expected {', '.join(known)}. Received: {name!r}{like}")
        for name in _NAMES:
            if not isinstance(found.get(name, ""), str):
                raise ConfigError(f"{path}: {name}: expected text. Received: {found[name]!r}")
        overrides = []
        for section in SECTIONS:
            settings = found.get(section) or {}
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
        return f"{name}={json.dumps(value)}"
    except (TypeError, ValueError) as error:
        raise ConfigError(f"expected a plain value as {name}. Received: {value!r}") from error
