"""How large a backbone is and what it costs: parameters and multiply-accumulates."""

import dataclasses

import numpy as np
import tf_keras

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
