"""Margins: what makes a target's logit smaller, so that training has to make its cosine larger.

A margin is a frozen dataclass of pure functions. What it remembers from step to step is a state that its head keeps.
`trainer_module.loss_facts` has the defaults. Cosines are float32 in [-1, 1].
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import tensorflow as tf

from trainer_module.loss_facts import LOSSES

State = Mapping[str, tf.Tensor]
Mean = Callable[[tf.Tensor], tf.Tensor]  # over the images of all replicas: float32 [N] -> float32 scalar

_TINY = 1e-9  # keeps the square root's gradient finite where an embedding lies on its centre


@dataclasses.dataclass(frozen=True)
class NormFace:
    """No margin: the softmax over cosines (Wang et al., 2017, arXiv:1704.06369). The others are made of it."""

    initial: ClassVar[Mapping[str, float]] = {}  # the state before the first step

    def update(self, cosine: tf.Tensor, norms: tf.Tensor, state: State, mean: Mean) -> State:
        """The state with a batch in it.

        Args:
          cosine: float32 [N], of each image to its class centre.
          norms: float32 [N], lengths of the embeddings.
          state: until then.
          mean: over the images of all replicas.
        """
        return state

    def target(self, cosine: tf.Tensor, norms: tf.Tensor, margin: tf.Tensor, state: State) -> tf.Tensor:
        """The target's logit before scaling.

        Args:
          cosine: float32 [N].
          norms: float32 [N].
          margin: m, float32 scalar, which grows to its full size while training warms up.
          state: after `update`.

        Returns:
          float32 [N].
        """
        return cosine

    def others(self, cosines: tf.Tensor, target: tf.Tensor, state: State) -> tf.Tensor:
        """The logits of other classes before scaling: float32 [N, C] and what `target` gave -> float32 [N, C]."""
        return cosines

    def penalty(self, norms: tf.Tensor) -> tf.Tensor:
        """What is added to each image's loss: float32 [N] -> float32 [N]."""
        return tf.zeros_like(norms)


@dataclasses.dataclass(frozen=True)
class ArcFace(NormFace):
    """`cos(theta + m)`, an additive angular margin (Deng et al., CVPR 2019, arXiv:1801.07698).

    Attributes:
      straight_through: hand the gradient on as if the logit were the cosine, as InsightFace's arcface_torch does; else
        it is the formula's own.
    """

    straight_through: bool

    def target(self, cosine: tf.Tensor, norms: tf.Tensor, margin: tf.Tensor, state: State) -> tf.Tensor:
        """See `add_angle`."""
        moved = add_angle(cosine, margin)
        return cosine + tf.stop_gradient(moved - cosine) if self.straight_through else moved


@dataclasses.dataclass(frozen=True)
class CosFace(NormFace):
    """`cos(theta) - m` (Wang et al., CVPR 2018, arXiv:1801.09414)."""

    def target(self, cosine: tf.Tensor, norms: tf.Tensor, margin: tf.Tensor, state: State) -> tf.Tensor:
        """See the class."""
        return cosine - margin


@dataclasses.dataclass(frozen=True)
class Combined(NormFace):
    """`cos(m1 theta + m2) - m3` (Deng et al., section 2.3); m2 is the margin that grows.

    Beyond pi, where the cosine would rise again, `-cos(.) - 2` goes on falling, as in SphereFace.

    Attributes:
      m1: factor of the angle; InsightFace combines 1.0, 0.3 and 0.2, or 0.9, 0.4 and 0.15.
      m3: subtracted from the cosine.
    """

    m1: float
    m3: float

    def target(self, cosine: tf.Tensor, norms: tf.Tensor, margin: tf.Tensor, state: State) -> tf.Tensor:
        """See the class."""
        angle = self.m1 * _angle(cosine) + margin
        return tf.where(angle <= math.pi, tf.cos(angle), -tf.cos(angle) - 2.0) - self.m3


@dataclasses.dataclass(frozen=True)
class AdaFace(NormFace):
    """A margin by the quality of an image, which the length of its embedding tells (Kim et al., CVPR 2022).

    `z` is the length, standardised by moving averages, times h, and cut to [-1, 1]. The target's logit is
    `cos(theta - m z) - (m + m z)`: as ArcFace's for good images, CosFace's for usual ones, and less than that for bad
    ones. No gradient flows through z. Source: arXiv:2204.00964, equations 13 to 16, and its authors' code.

    Attributes:
      h: how far the margins spread.
      momentum: of the moving averages: the share of a batch.
    """

    h: float
    momentum: float
    initial: ClassVar[Mapping[str, float]] = {"mean": 20.0, "deviation": 100.0}

    def update(self, cosine: tf.Tensor, norms: tf.Tensor, state: State, mean: Mean) -> State:
        """The moving averages of mean and standard deviation of the lengths."""
        lengths = self._lengths(norms)
        centre = mean(lengths)
        images = tf.cast(tf.size(norms), tf.float32) / mean(tf.ones_like(norms))
        unbiased = mean(tf.square(lengths - centre)) * images / tf.maximum(images - 1.0, 1.0)
        batch = {"mean": centre, "deviation": tf.sqrt(unbiased)}
        return {name: self.momentum * batch[name] + (1.0 - self.momentum) * state[name] for name in batch}

    def target(self, cosine: tf.Tensor, norms: tf.Tensor, margin: tf.Tensor, state: State) -> tf.Tensor:
        """See the class."""
        z = self.h * (self._lengths(norms) - state["mean"]) / (state["deviation"] + 1e-3)
        z = tf.clip_by_value(z, -1.0, 1.0)
        angle = tf.clip_by_value(_angle(cosine) - margin * z, 1e-3, math.pi - 1e-3)
        return tf.cos(angle) - (margin + margin * z)

    @staticmethod
    def _lengths(norms: tf.Tensor) -> tf.Tensor:
        return tf.stop_gradient(tf.clip_by_value(norms, 1e-3, 100.0))


@dataclasses.dataclass(frozen=True)
class MagFace(NormFace):
    """A margin that grows with the length of the embedding, which so learns to tell quality (Meng et al., CVPR 2021).

    m grows linearly from `lower_margin` at the length `lower_norm` to `train.margin` at `upper_norm`. The penalty
    `weight * (a / upper_norm^2 + 1 / a)` pulls lengths upwards. Source: arXiv:2103.06627 and its authors' code.

    Attributes:
      lower_margin: at the length `lower_norm`.
      lower_norm: shorter embeddings count as of this length.
      upper_norm: longer ones as of this.
      weight: of the penalty.
    """

    lower_margin: float
    lower_norm: float
    upper_norm: float
    weight: float

    def target(self, cosine: tf.Tensor, norms: tf.Tensor, margin: tf.Tensor, state: State) -> tf.Tensor:
        """See the class; while the margin grows, the lower one is never above it."""
        share = (self._lengths(norms) - self.lower_norm) / (self.upper_norm - self.lower_norm)
        lower = tf.minimum(self.lower_margin, margin)
        return add_angle(cosine, lower + share * (margin - lower))

    def penalty(self, norms: tf.Tensor) -> tf.Tensor:
        """See the class."""
        lengths = self._lengths(norms)
        return self.weight * (lengths / self.upper_norm**2 + 1.0 / lengths)

    def _lengths(self, norms: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(norms, self.lower_norm, self.upper_norm)


@dataclasses.dataclass(frozen=True)
class CurricularFace(NormFace):
    """ArcFace that turns to hard classes as training goes on (Huang et al., CVPR 2020, arXiv:2004.00288).

    A class that is nearer than the target with its margin gets the logit `cos(theta) (t + cos(theta))`, where t is a
    moving average of the targets' cosines.

    Attributes:
      momentum: of the moving average: the share of a batch.
    """

    momentum: float
    initial: ClassVar[Mapping[str, float]] = {"t": 0.0}

    def update(self, cosine: tf.Tensor, norms: tf.Tensor, state: State, mean: Mean) -> State:
        """The moving average."""
        return {"t": self.momentum * mean(tf.stop_gradient(cosine)) + (1.0 - self.momentum) * state["t"]}

    def target(self, cosine: tf.Tensor, norms: tf.Tensor, margin: tf.Tensor, state: State) -> tf.Tensor:
        """See `add_angle`."""
        return add_angle(cosine, margin)

    def others(self, cosines: tf.Tensor, target: tf.Tensor, state: State) -> tf.Tensor:
        """See the class."""
        return tf.where(cosines > target[:, tf.newaxis], cosines * (state["t"] + cosines), cosines)


def add_angle(cosine: tf.Tensor, margin: tf.Tensor) -> tf.Tensor:
    """`cos(theta + m)`, expanded as `cos(theta) cos(m) - sin(theta) sin(m)`.

    Where theta + m would pass pi, and the logit would rise again, the linear continuation `cos(theta) - m sin(pi - m)`
    of InsightFace takes its place.

    Args:
      cosine: float32 [N], of the angle theta to the target's centre.
      margin: m, float32 scalar or [N], in radians.

    Returns:
      float32 [N].
    """
    sine = tf.sqrt(tf.maximum(1.0 - tf.square(cosine), _TINY))
    return tf.where(
        cosine > tf.cos(math.pi - margin),
        cosine * tf.cos(margin) - sine * tf.sin(margin),
        cosine - margin * tf.sin(math.pi - margin),
    )


def _angle(cosine: tf.Tensor) -> tf.Tensor:
    """Arccos with a gradient that is finite everywhere: float32 [N] -> float32 [N] in [0, pi]."""
    return tf.atan2(tf.sqrt(tf.maximum(1.0 - tf.square(cosine), _TINY)), cosine)


_MARGINS: dict[str, type[NormFace]] = {
    "arcface": ArcFace,
    "cosface": CosFace,
    "combined": Combined,
    "adaface": AdaFace,
    "magface": MagFace,
    "curricularface": CurricularFace,
    "normface": NormFace,
    "softmax": NormFace,  # whose head isn't normalized
}


def create_margin(loss: str, options: Mapping[str, Any] = MappingProxyType({})) -> NormFace:
    """The margin of a loss in `LOSSES`, with some of its options."""
    return _MARGINS[loss](**LOSSES[loss].chosen(options))
