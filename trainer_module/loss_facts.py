"""Names of the losses, and what each is told; standard library only. `heads.margins` has the formulas."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a loss: its default, a number or a bool, and the least and the greatest number."""

    default: float | bool
    low: float = 0.0
    high: float = 1e4


@dataclasses.dataclass(frozen=True)
class LossFacts:
    """A loss.

    Attributes:
      margin: its m where `train.margin` is null; 0 where it has none.
      options: see the margin's class.
      remembers: it goes by a moving average over the steps, of all replicas together.
    """

    margin: float = 0.0
    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    remembers: bool = False

    def chosen(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options, those that aren't given at their defaults."""
        return {**{name: option.default for name, option in self.options.items()}, **options}


# Margins that a paper doesn't name, and options, are those of its authors' code or of arcface_torch.
LOSSES = {
    "arcface": LossFacts(0.5, {"straight_through": Option(False)}),
    "cosface": LossFacts(0.4),
    "combined": LossFacts(0.3, {"m1": Option(1.0, low=0.5, high=4.0), "m3": Option(0.2, high=1.0)}),
    "adaface": LossFacts(0.4, {"h": Option(0.333, high=1.0), "momentum": Option(0.01, high=1.0)}, remembers=True),
    "magface": LossFacts(
        0.8,
        {
            "lower_margin": Option(0.45, high=1.57),
            "lower_norm": Option(10.0, low=1e-3),
            "upper_norm": Option(110.0, low=1e-3),
            "weight": Option(35.0),
        },
    ),
    "curricularface": LossFacts(0.5, {"momentum": Option(0.01, high=1.0)}, remembers=True),
    "normface": LossFacts(),
    "softmax": LossFacts(),
}
