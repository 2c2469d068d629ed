"""MobileFaceNet (Chen et al. 2018, arXiv:1804.07573) in the two forms that InsightFace publishes.

`y1` (MXNet) has 64 channels after the stem, `mbf` (arcface_torch, the model zoo's w600k_mbf) twice that; the inner
widths of the bottlenecks are the same. In `mbf` the second convolution is grouped, not depthwise (128 channels in 64
groups), the fully connected layer has no bias and the last batch norm a learned gamma.
"""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from arcface_common.features import CHANNELS, IMAGE_SIZE
from trainer_module.backbones import layers

STEM_WIDTH = 64
STEM_GROUPS = 64
WIDTHS = (64, 128, 128)  # channels of the stages
RESIDUALS = (4, 6, 2)  # residual bottlenecks after each bottleneck of stride 2
STRIDED_EXPANSIONS = (128, 256, 512)  # inner channels of the bottlenecks of stride 2
EXPANSIONS = (128, 256, 256)  # inner channels of the residual bottlenecks
LAST_WIDTH = 512


def mobilefacenet(
    *,
    name: str,
    embedding_dim: int,
    dropout: float,
    norm: str = "batch",
    stem_width: int = STEM_WIDTH,
    stem_groups: int = STEM_GROUPS,
    stem_residuals: int = 0,
    widths: Sequence[int] = WIDTHS,
    residuals: Sequence[int] = RESIDUALS,
    strided_expansions: Sequence[int] = STRIDED_EXPANSIONS,
    expansions: Sequence[int] = EXPANSIONS,
    last_width: int = LAST_WIDTH,
    epsilon: float = 1e-3,
    output_epsilon: float = 2e-5,
    momentum: float = 0.9,
    fc_bias: bool = True,
    output_gamma: bool = False,
) -> tf_keras.Model:
    """Builds a MobileFaceNet; the defaults are `y1`.

    Args:
      name: the model's name.
      embedding_dim: D, length of the embedding.
      dropout: rate before the fully connected layer.
      norm: a name of `normalization.NAMES`.
      stem_width: channels after the first convolution.
      stem_groups: groups of the second convolution; inner channels are twice that where `stem_residuals` replace it.
      stem_residuals: residual bottlenecks in place of the second convolution (arcface_torch's `blocks[0]` above 1).
      widths: channels per stage.
      residuals: residual bottlenecks per stage.
      strided_expansions: inner channels of the bottleneck of stride 2 that begins each stage.
      expansions: inner channels of the residual bottlenecks per stage.
      last_width: channels before the fully connected layer.
      epsilon: of every normalisation but the last; MXNet's default of 1e-3 in y1, 1e-5 in mbf.
      output_epsilon: of the last normalisation.
      momentum: of the moving statistics.
      fc_bias: whether the fully connected layer has a bias.
      output_gamma: whether the last normalisation learns a gamma.

    Returns:
      A model float32 [N, 112, 112, 3] (normalised, see `images.to_input`) -> float32 [N, D], not L2-normalised.

    Raises:
      ValueError: the four lists differ in length.
    """
    lengths = {len(values) for values in (widths, residuals, strided_expansions, expansions)}
    if len(lengths) != 1:
        raise ValueError(
            "widths, residuals, strided_expansions and expansions must have one entry a stage. "
            f"Received: {widths!r}, {residuals!r}, {strided_expansions!r}, {expansions!r}"
        )
    build = layers.Builder(norm_kind=norm, epsilon=epsilon, momentum=momentum)
    image = tf_keras.Input((IMAGE_SIZE, IMAGE_SIZE, CHANNELS), name="image")
    x = _block(build, image, stem_width, 3, 2, "stem")
    if not stem_residuals:
        x = _block(build, x, stem_width, 3, 1, "stem_dw", groups=stem_groups)
    x = _residuals(build, x, 2 * stem_groups, "stem", range(1, stem_residuals + 1))
    stages = zip(widths, residuals, strided_expansions, expansions, strict=True)
    for stage, (width, count, strided_expansion, expansion) in enumerate(stages, start=1):
        x = _bottleneck(build, x, width, strided_expansion, 2, f"stage{stage}_unit1")
        x = _residuals(build, x, expansion, f"stage{stage}", range(2, count + 2))
    x = _block(build, x, last_width, 1, 1, "last")
    # A depthwise convolution over the whole 7 x 7 map: each position has its own weight, unlike average pooling.
    x = build.conv(x, last_width, x.shape[1], 1, name="gdc_conv", groups=last_width, pad=False)
    x = build.norm(x, "gdc_bn")
    embedding = build.output(x, embedding_dim, dropout, fc_bias=fc_bias, gamma=output_gamma, epsilon=output_epsilon)
    return tf_keras.Model(image, embedding, name=name)


def _residuals(build: layers.Builder, x: tf.Tensor, expansion: int, stage: str, units: range) -> tf.Tensor:
    """Bottlenecks of stride 1, each added to its input: the same shape."""
    for unit in units:
        y = _bottleneck(build, x, x.shape[-1], expansion, 1, f"{stage}_unit{unit}")
        x = tf_keras.layers.Add(name=f"{stage}_unit{unit}_add")([y, x])
    return x


def _block(
    build: layers.Builder, x: tf.Tensor, width: int, size: int, stride: int, name: str, groups: int = 1
) -> tf.Tensor:
    """Convolution, normalisation, PReLU."""
    x = build.conv(x, width, size, stride, name=f"{name}_conv", groups=groups)
    return build.prelu(build.norm(x, f"{name}_bn"), f"{name}_prelu")


def _bottleneck(build: layers.Builder, x: tf.Tensor, width: int, expansion: int, stride: int, name: str) -> tf.Tensor:
    """Inverted bottleneck with a linear end: 1x1 to `expansion`, depthwise 3x3, 1x1 to `width`."""
    x = _block(build, x, expansion, 1, 1, f"{name}_expand")
    x = _block(build, x, expansion, 3, stride, f"{name}_dw", groups=expansion)
    x = build.conv(x, width, 1, 1, name=f"{name}_project_conv")
    return build.norm(x, f"{name}_project_bn")
