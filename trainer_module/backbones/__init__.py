"""Backbones by name: `build("iresnet50", norm="sync_batch")`, or a user's own function.

A backbone takes float32 [N, 112, 112, 3] in the value range of `images.to_input` and returns the raw embedding,
float32 [N, D], the last normalisation's output.
"""

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import tf_keras

from arcface_common.features import CHANNELS, IMAGE_SIZE
from trainer_module import normalization
from trainer_module.backbones.iresnet import UNITS, iresnet
from trainer_module.backbones.mobilefacenet import mobilefacenet

Builder = Callable[..., tf_keras.Model]


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """A registered backbone.

    Attributes:
      name: what `build` calls it.
      builder: called with `name`, `embedding_dim`, `dropout`, `norm` and the caller's options, all by keyword.
      embedding_dim: the default length of the embedding.
      dropout: the default dropout rate before the fully connected layer.
      description: one line for people.
    """

    name: str
    builder: Builder
    embedding_dim: int
    dropout: float
    description: str


_REGISTRY: dict[str, BackboneSpec] = {}


def register(
    name: str, *, embedding_dim: int = 512, dropout: float = 0.0, description: str = ""
) -> Callable[[Builder], Builder]:
    """A decorator that makes a function known to `build`.

    Args:
      name: what to call it; a name is taken once.
      embedding_dim: default length of the embedding.
      dropout: default dropout rate.
      description: one line; the first line of the function's docstring if empty.

    Returns:
      The decorator; it returns the function unchanged.

    Raises:
      ValueError: the name is taken, or holds a colon (which marks an import path).
    """
    if name in _REGISTRY or ":" in name:
        raise ValueError(f"A backbone's name must be new and without a colon. Received: name={name!r}")

    def decorate(builder: Builder) -> Builder:
        line = description or (builder.__doc__ or "").partition("\n")[0]
        _REGISTRY[name] = BackboneSpec(name, builder, embedding_dim, dropout, line)
        return builder

    return decorate


def names() -> tuple[str, ...]:
    """The registered names, sorted by first appearance."""
    return tuple(_REGISTRY)


def spec(name: str) -> BackboneSpec:
    """Finds a backbone by its registered name, or by `package.module:function` (a trainer's fresh process needs that).

    Args:
      name: e.g. "iresnet50" or "my_package.my_module:my_backbone".

    Returns:
      Its spec; an imported function that is not registered has 512 dimensions and no dropout.

    Raises:
      ValueError: no such name, or nothing of that name in the module.
      ModuleNotFoundError: no such module.
    """
    if name in _REGISTRY:
        return _REGISTRY[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(
            f"The backbone must be one of {', '.join(names())}, or 'package.module:function'. Received: name={name!r}"
        )
    builder = getattr(importlib.import_module(module), function, None)
    if not callable(builder):
        raise ValueError(f"Expected a function {function!r} in the module {module!r}. Received: name={name!r}")
    known = next((known for known in _REGISTRY.values() if known.builder is builder), None)
    return known or BackboneSpec(name, builder, 512, 0.0, (builder.__doc__ or "").partition("\n")[0])


def build(
    name: str,
    *,
    embedding_dim: int | None = None,
    dropout: float | None = None,
    norm: str = "batch",
    **options: Any,
) -> tf_keras.Model:
    """Builds a backbone with fresh weights.

    Args:
      name: a registered name or `package.module:function`, see `spec`.
      embedding_dim: D; the backbone's default if None.
      dropout: rate in [0, 1) before the fully connected layer; the backbone's default if None.
      norm: one of `normalization.NAMES`.
      **options: passed on to the backbone's function (e.g. `epsilon`).

    Returns:
      A model float32 [N, 112, 112, 3] -> float32 [N, D], not L2-normalised.

    Raises:
      ValueError: an unknown name or norm, a value out of range, or a function whose model has other shapes.
    """
    found = spec(name)
    embedding_dim = found.embedding_dim if embedding_dim is None else embedding_dim
    dropout = found.dropout if dropout is None else dropout
    if embedding_dim < 1:
        raise ValueError(f"embedding_dim must be at least 1. Received: embedding_dim={embedding_dim!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: dropout={dropout!r}")
    arguments = {
        "name": name.rpartition(":")[2],
        "embedding_dim": embedding_dim,
        "dropout": dropout,
        "norm": normalization.check(norm),
        **options,
    }
    try:
        inspect.signature(found.builder).bind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"The backbone {name!r} must take {', '.join(arguments)} by name. Received: {error}"
        ) from error
    model = found.builder(**arguments)
    if not isinstance(model, tf_keras.Model):
        kind = type(model)
        other = ", of Keras 3, as tf.keras gives: `import tf_keras`" if kind.__module__.startswith("keras.") else ""
        raise ValueError(f"The backbone {name!r} must give a tf_keras.Model. Received: {kind.__name__}{other}")
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"The backbone {name!r} must give a tf_keras.Model that begins with a tf_keras.Input. "
            f"Received: {type(model).__name__}, which has none"
        )
    expected = ((None, IMAGE_SIZE, IMAGE_SIZE, CHANNELS), (None, embedding_dim))
    received = (tuple(model.input_shape), tuple(model.output_shape))
    if received != expected:
        raise ValueError(f"The backbone {name!r} must map {expected[0]} to {expected[1]}. Received: {received}")
    return model


for _name, _units in UNITS.items():
    _layers = _name.removeprefix("iresnet")
    # 0.4 is InsightFace's rate in its MXNet recipe; arcface_torch trains without.
    register(_name, dropout=0.4, description=f"LResNet{_layers}E-IR, stages of {_units} units")(
        functools.partial(iresnet, units=_units)
    )
register("iresnet_tiny", embedding_dim=128, description="Small IR network for two CPU cores: the demo's")(
    # Thin layers on large maps wait for memory: stages at 28x28 and below take half the time of those from 56x56 on.
    functools.partial(iresnet, units=(1, 1, 1), stem_width=16, widths=(16, 48, 128), stem_stride=4, stem_kernel=7)
)
register("mobilefacenet", embedding_dim=128, description="MobileFaceNet y1 of InsightFace's MXNet code")(mobilefacenet)
register("mobilefacenet_mbf", description="MobileFaceNet mbf of arcface_torch: twice the width between bottlenecks")(
    functools.partial(
        mobilefacenet,
        stem_width=128,
        widths=(128, 256, 256),
        epsilon=1e-5,
        output_epsilon=1e-5,
        fc_bias=False,
        output_gamma=True,
    )
)
