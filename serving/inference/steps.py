"""What a network does, step by step, apart from any framework: kernels as numpy arrays, shapes as NHWC has them."""

import dataclasses
from typing import Any

import numpy as np

Pads = tuple[tuple[int, int], tuple[int, int]]  # above and below, left and right, pixels

INPUT = "image"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Step:
    """One operation of a network.

    Attributes:
      name: its own.
      inputs: names of the steps whose results it takes.
      shape: of its result, without the batch.
      weights: float64 arrays by their names.
    """

    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    weights: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Input(Step):
    """The normalised pixels, float32 [N, 112, 112, 3]."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Step):
    """A convolution padded by zeros.

    Weights: `kernel` [k, k, C / groups, F]; maybe `bias`, [F] or, one for each place, [H', W', F].

    Attributes:
      stride: pixels.
      pads: rows and columns of zeros around the input.
      groups: of channels.
    """

    stride: int
    pads: Pads
    groups: int


class Dense(Step):
    """A fully connected layer. Weights: `kernel` [C, F], `bias` [F]."""


class Scale(Step):
    """A batch norm of moving statistics: times `scale` [C], plus `offset` [C]."""


class Prelu(Step):
    """What is below 0 is multiplied. Weight: `slope`, [C] or the whole [H, W, C]."""


class Add(Step):
    """The sum of all inputs."""


class Flatten(Step):
    """[N, H, W, C] -> [N, H * W * C]."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class GroupNorm(Step):
    """Group norm over the last axis. Weights: `scale` [C] and `offset` [C].

    Attributes:
      groups: of neighbouring channels.
      epsilon: added to the variance.
    """

    groups: int
    epsilon: float


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Foreign(Step):
    """A user's own layer, called as it is.

    Attributes:
      layer: a tf_keras layer.
      node: where in the model it is called, which knows the arguments; None for a whole model.
    """

    layer: Any
    node: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """Steps in an order in which each comes after its inputs; the last one is the embedding, [N, D].

    Attributes:
      steps: by their names; the first is the input.
    """

    steps: dict[str, Step]

    @property
    def output(self) -> Step:
        """The last step."""
        return next(reversed(self.steps.values()))

    def arrays(self) -> dict[str, np.ndarray]:
        """All weights as float32, by "step/weight"."""
        return {
            f"{step.name}/{name}": value.astype(np.float32)
            for step in self.steps.values()
            for name, value in step.weights.items()
        }

    def with_arrays(self, arrays: dict[str, np.ndarray]) -> "Network":
        """The same steps with other weights, as `arrays` names them."""
        return Network(
            {
                step.name: dataclasses.replace(
                    step, weights={name: arrays[f"{step.name}/{name}"] for name in step.weights}
                )
                for step in self.steps.values()
            }
        )
