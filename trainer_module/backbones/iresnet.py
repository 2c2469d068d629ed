"""LResNet-IR with output option E: the residual networks of InsightFace.

Deng et al. 2019 (ArcFace, arXiv:1801.07698), section 3.1: the stem keeps the full 112 x 112 (a 3x3 convolution of
stride 1), a unit is BN-conv-BN-PReLU-conv-BN with the stride in the second convolution, and the output is
BN-dropout-FC-BN. The same network is `fresnet` (version 3, output E) in InsightFace's MXNet code and `iresnet` in
arcface_torch, so published weights of both fit (trainer_module/weights).
"""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from arcface_common.features import CHANNELS, IMAGE_SIZE
from trainer_module.backbones import layers

UNITS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}
STEM_WIDTH = 64
WIDTHS = (64, 128, 256, 512)


def iresnet(
    *,
    name: str,
    embedding_dim: int,
    dropout: float,
    norm: str = "batch",
    units: Sequence[int],
    stem_width: int = STEM_WIDTH,
    widths: Sequence[int] = WIDTHS,
    stem_stride: int = 1,
    stem_kernel: int = 3,
    epsilon: float = 2e-5,
    output_epsilon: float | None = None,
    momentum: float = 0.9,
    output_gamma: bool = False,
) -> tf_keras.Model:
    """Builds a network with its own structure; the registered names fill in `units` and the widths.

    Args:
      name: the model's name.
      embedding_dim: D, length of the embedding.
      dropout: rate before the fully connected layer.
      norm: a name of `normalization.NAMES`.
      units: residual units per stage.
      stem_width: channels after the first convolution.
      widths: channels per stage.
      stem_stride: stride of the first convolution; 1 in every published network.
      stem_kernel: its height and width, odd; 3 in every published network.
      epsilon: of every normalisation but the last; 2e-5 in MXNet's networks, 1e-5 in arcface_torch's.
      output_epsilon: of the last normalisation; `epsilon` if None.
      momentum: of the moving statistics.
      output_gamma: whether the last normalisation learns a gamma. Published networks fix it at 1: the loss normalises
        the embedding, and a free gamma could shut dimensions off.

    Returns:
      A model float32 [N, 112, 112, 3] (normalised, see `images.to_input`) -> float32 [N, D], not L2-normalised.

    Raises:
      ValueError: `units` and `widths` differ in length.
    """
    if len(units) != len(widths):
        raise ValueError(f"units and widths must have one entry a stage. Received: units={units!r}, widths={widths!r}")
    build = layers.Builder(norm_kind=norm, epsilon=epsilon, momentum=momentum)
    image = tf_keras.Input((IMAGE_SIZE, IMAGE_SIZE, CHANNELS), name="image")
    x = build.conv(image, stem_width, stem_kernel, stem_stride, name="stem_conv")
    x = build.prelu(build.norm(x, "stem_bn"), "stem_prelu")
    for stage, (count, width) in enumerate(zip(units, widths, strict=True), start=1):
        for unit in range(1, count + 1):
            x = _unit(build, x, width, 2 if unit == 1 else 1, f"stage{stage}_unit{unit}")
    x = build.norm(x, "output_bn")
    output_epsilon = epsilon if output_epsilon is None else output_epsilon
    embedding = build.output(x, embedding_dim, dropout, fc_bias=True, gamma=output_gamma, epsilon=output_epsilon)
    return tf_keras.Model(image, embedding, name=name)


def _unit(build: layers.Builder, x: tf.Tensor, width: int, stride: int, name: str) -> tf.Tensor:
    """One residual unit: float [N, H, W, C] -> [N, H / stride, W / stride, width]."""
    y = build.norm(x, f"{name}_bn1")
    y = build.conv(y, width, 3, 1, name=f"{name}_conv1")
    y = build.prelu(build.norm(y, f"{name}_bn2"), f"{name}_prelu")
    y = build.conv(y, width, 3, stride, name=f"{name}_conv2")
    y = build.norm(y, f"{name}_bn3")
    if stride != 1 or x.shape[-1] != width:
        x = build.conv(x, width, 1, stride, name=f"{name}_shortcut_conv")
        x = build.norm(x, f"{name}_shortcut_bn")
    return tf_keras.layers.Add(name=f"{name}_add")([y, x])
