"""The effective settings of a run, as its `settings.yaml` keeps them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import yaml

from arcface_common.errors import DataError
from pipeline.config import PipelineConfig
from pipeline.overrides import YamlError, load_yaml
from pipeline.sections import SECTIONS

_LAST = "beam_args"  # in the file's order
_OF_CLUSTERS = "kubeflow"  # no run on this machine has it


def effective(config: PipelineConfig) -> dict[str, Any]:
    """All settings, after the preset, `--init-from` and `--set`, in types that YAML knows."""
    settings = _plain(dataclasses.asdict(config))
    del settings[_OF_CLUSTERS]
    return {"preset": config.preset, **settings}


def dump(settings: Mapping[str, Any]) -> str:
    """The settings as YAML, in their order."""
    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=120)


def load(text: str, path: str) -> dict[str, Any]:
    """The inverse of `dump`.

    Args:
      text: what the file holds.
      path: of the file, for the error.

    Raises:
      DataError: no YAML, or not all that `effective` has, as in a file that was cut.
    """
    try:
        found = load_yaml(text)
    except YamlError as error:
        raise DataError(f"{path}: expected settings as YAML. Received: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise DataError(f"{path}: expected settings by name. Received: {type(found).__name__}")
    if missing := {"data", "root", *SECTIONS, _LAST} - {_OF_CLUSTERS, *found}:
        raise DataError(f"{path}: expected all settings of a run. Received: none of {', '.join(sorted(missing))}")
    return found


def flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by their dotted names, as `--set` has them, e.g. "train.steps"."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def shown(value: Any) -> str:
    """A value as `--set` reads it back."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    """The value with tuples as lists."""
    if isinstance(value, Mapping):
        return {str(name): _plain(of) for name, of in value.items()}
    return [_plain(of) for of in value] if isinstance(value, tuple | list) else value
