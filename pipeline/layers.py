"""Settings in layers: a preset's, those of a file, those that are given by hand; each goes before the ones below."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from arcface_common.errors import ConfigError, argument, is_number, setting_argument
from pipeline.overrides import assign
from pipeline.sections import SECTIONS
from trainer_module.shares import SHARES, share


@dataclasses.dataclass(frozen=True)
class Layer:
    """Settings that come from one place.

    Attributes:
      origin: the place in words, such as "the preset demo"; "" for what is given by hand.
      given: dotted name and YAML of each, see `overrides.assign`.
    """

    origin: str
    given: Sequence[tuple[str, str]]

    def values(self) -> dict[str, dict[str, Any]]:
        """Section -> field -> value.

        Raises:
          ConfigError: no such setting, or no YAML.
        """
        found: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for name, text in self.given:
            assign(found, SECTIONS, name, text, written=True)
        return found


def rescaled(layers: Sequence[Layer], steps: Any) -> dict[str, tuple[Any, str]]:
    """What falls and warms up at a share of the steps, for a training of another length.

    Args:
      layers: the lowest first.
      steps: `train.steps` as the layers leave it.

    Returns:
      Field of `train` -> its value and the origin of the share: those that a layer sets beside `train.steps`, where a
      higher one sets other steps alone.
    """
    found: dict[str, tuple[Any, str]] = {}
    for layer in layers:
        own = layer.values()["train"]
        for field in SHARES:
            if field in own:
                found.pop(field, None)
                if own[field] and _is_other(own.get("steps"), steps):
                    found[field] = (share(own[field], steps / own["steps"]), layer.origin)
    return found


def _is_other(usual: Any, steps: Any) -> bool:
    """Whether two numbers of steps differ, of which the first is positive."""
    return is_number(usual) and is_number(steps) and usual > 0 and usual != steps


def with_origin(error: ConfigError, layers: Sequence[Layer]) -> ConfigError:
    """An error about settings, with the place that each comes from and what to write; as it is if all came by hand.

    Args:
      error: of a section.
      layers: the lowest first.
    """
    values = [(layer.origin, layer.values()) for layer in layers]
    by_origin = dict[str, list[str]]()  # place -> settings that it sets
    for setting in error.instead:
        section, _, field = setting.partition(".")
        setters = [origin for origin, given in values if field in given.get(section, {})]
        if setters and setters[-1]:
            by_origin.setdefault(setters[-1], []).append(setting)
    if not by_origin:
        return error
    alone = len(error.instead) == 1
    said = [
        f"{origin} sets" if alone else f"{origin} sets {' and '.join(names)}" for origin, names in by_origin.items()
    ]
    written = [
        setting_argument(f"{name}={error.instead[name] or '…'}") for names in by_origin.values() for name in names
    ]
    return ConfigError(
        f"{error}{', which ' if alone else '; '}{', '.join(said)}; write {' '.join(written)}", error.instead
    )


def assigned(layers: Sequence[Layer], initial: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Section -> field -> value, after all layers.

    Args:
      layers: the lowest first, which is a preset's.
      initial: fields of `train` that stand above the preset, and that no higher layer may change, but for the
        embedding's dimensions.

    Raises:
      ConfigError: no such setting, no YAML, or a changed one of `initial`.
    """
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for number, layer in enumerate(layers):
        for name, text in layer.given:
            try:
                assign(values, SECTIONS, name, text, written=True)
            except ConfigError as error:
                raise ConfigError(f"{layer.origin}: {error}") if layer.origin else error from None
        if not number:
            values["train"] |= initial
    for field, value in initial.items():
        if field != "embedding_dim" and values["train"][field] != value:
            raise ConfigError(f"expected no setting that {argument('init_from')} decides. Received: train.{field}")
    return values
