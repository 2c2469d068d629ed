"""How large a backbone is and what it costs: parameters, multiply-accumulates, output size, of each name."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import tf_keras

from trainer_module import backbones
from trainer_module.backbones.layers import GroupedConv2D


@dataclasses.dataclass(frozen=True)
class BackboneSummary:
    """Size and cost of one backbone.

    Attributes:
      name: the model's name.
      parameters: trained values: kernels, biases, gammas, betas, slopes. A gamma fixed at 1 is not counted, though
        PyTorch counts it (D values more).
      statistics: moving means and variances, and counters.
      macs: multiply-accumulates of convolutions and fully connected layers for one image; normalisation, PReLU and
        additions are left out, as published figures do. FLOPs are twice that.
      embedding_dim: D.
    """

    name: str
    parameters: int
    statistics: int
    macs: int
    embedding_dim: int

    @property
    def flops(self) -> int:
        """Floating point operations for one image: a multiplication and an addition each."""
        return 2 * self.macs


def _macs(layer: tf_keras.layers.Layer) -> int:
    """Multiply-accumulates for one image."""
    if isinstance(layer, tf_keras.layers.Dense):
        return int(np.prod(layer.kernel.shape))
    convolutions = (tf_keras.layers.Conv2D, tf_keras.layers.DepthwiseConv2D, GroupedConv2D)
    if isinstance(layer, convolutions):
        # Each kernel value is used once at each output position, in all three kinds.
        kernel = layer.depthwise_kernel if isinstance(layer, tf_keras.layers.DepthwiseConv2D) else layer.kernel
        return int(np.prod(kernel.shape) * np.prod(layer.output_shape[1:3]))
    return 0


def summarize(model: tf_keras.Model) -> BackboneSummary:
    """Counts one model, float32 [N, 112, 112, 3] -> float32 [N, D]."""
    return BackboneSummary(
        name=model.name,
        parameters=sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        statistics=sum(int(np.prod(weight.shape)) for weight in model.non_trainable_weights),
        macs=sum(_macs(layer) for layer in model.layers),
        embedding_dim=int(model.output_shape[-1]),
    )


def table(names: Iterable[str] | None = None) -> str:
    """A text table of registered backbones, a line each.

    Args:
      names: which; all registered ones if None.

    Returns:
      The table, millions of parameters and multiply-accumulates.

    Raises:
      ValueError: an unknown name.
    """
    lines = [f"{'backbone':<20} {'parameters':>12} {'MACs / image':>14} {'embedding':>10}"]
    for name in backbones.names() if names is None else names:
        found = summarize(backbones.build(name))
        lines.append(
            f"{name:<20} {found.parameters / 1e6:>10.2f} M {found.macs / 1e6:>12.1f} M {found.embedding_dim:>10}"
        )
    return "\n".join(lines)
