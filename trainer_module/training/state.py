"""The state of a training: what its steps change, and what a checkpoint keeps."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras

from arcface_common import features
from trainer_module import backbones
from trainer_module.heads import Head
from trainer_module.heads.choose import create_head
from trainer_module.heads.shards import collected, spread
from trainer_module.optimization.optimizers import create_optimizer, slots
from trainer_module.settings import TrainSettings
from trainer_module.training.outlook import begun_from
from trainer_module.training.start import take_backbone, take_centres


@dataclasses.dataclass(frozen=True)
class TrainState:
    """The network, the class centres and the optimizer of a training, and the factor of its L2 penalty.

    Attributes:
      new_layers: of the backbone, those that don't come from `train.init_from`; none where there is no such run.
      begun_from: what was taken from there, for people.
    """

    backbone: tf_keras.Model
    head: Head
    optimizer: tf_keras.optimizers.Optimizer
    l2_factor: tf.Variable
    new_layers: Sequence[tf_keras.layers.Layer] = ()
    begun_from: str = ""

    def trainable_variables(self) -> list[tf.Variable]:
        """Everything that a step changes by a gradient; within `frozen` the backbone is not, but for its new layers."""
        return [*self.backbone.trainable_variables, *self.head.trainable_variables]

    def variables(self) -> list[tf.Variable]:
        """Everything that a checkpoint keeps; the same order for each state of the same settings."""
        whole = self.checkpoint()  # the view alone would not keep it
        found = tf.train.TrackableView(whole).descendants()
        return [entry for entry in found if isinstance(entry, tf.Variable)]

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile the backbone's layers are none to train, but the new ones: norms compute as in the exported model.

        What is traced in it stays so. Dropout goes on, as in the rest of the training.
        """
        layers = [layer for layer in self.backbone.layers if layer.trainable and layer not in self.new_layers]
        for layer in layers:
            layer.trainable = False
        try:
            yield
        finally:
            for layer in layers:
                layer.trainable = True

    def values(self, *, kept: bool = True) -> Iterator[Any]:
        """The values of `variables`, each made when it is asked for; all workers ask for all.

        Of variables that each worker has a share of, reading the mean or all rows is a collective operation.

        Args:
          kept: False where nobody looks at them.
        """
        shards = self._shards()
        for variable in self.variables():
            if variable.ref() in shards:
                yield collected(variable, self.head.classes, kept=kept)
            else:
                yield tf.convert_to_tensor(variable)

    def take(self, whole: "TrainState") -> None:
        """Takes the values of a state that is not split over replicas."""
        shards = self._shards()
        for variable, value in zip(self.variables(), whole.variables(), strict=True):
            if variable.ref() in shards:
                spread(variable, self.head.classes, functools.partial(_rows, value))
            else:
                variable.assign(value)

    def _shards(self) -> set[Any]:
        """References of what is split over replicas: class centres, and what the optimizer keeps of them."""
        shards = self.head.shards
        return {variable.ref() for variable in (*shards, *slots(self.optimizer, shards))}

    def checkpoint(self) -> tf.train.Checkpoint:
        """All of it, by the names that `checkpoints` reads. It is written where it is not split over replicas."""
        names = ("backbone", "head", "optimizer", "l2_factor")
        return tf.train.Checkpoint(**{name: getattr(self, name) for name in names})


def _rows(variable: tf.Variable, begin: int, end: int) -> np.ndarray:
    return np.asarray(variable[begin:end])


def number_of_classes(transform_graph: str) -> int:
    """Identities in the training data, as Transform counted them."""
    return tft.TFTransformOutput(transform_graph).vocabulary_size_by_name(features.IDENTITY_VOCABULARY)


@contextlib.contextmanager
def _policy(precision: str) -> Iterator[None]:
    """What layers that are made meanwhile compute in."""
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy(precision)
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)


def create_state(
    settings: TrainSettings, classes: int, identities: Sequence[str] = (), *, seeded: bool = False
) -> TrainState:
    """The state that training starts from: seeded weights or those of `settings.init_from`, and empty slots.

    Args:
      settings: of the training.
      classes: how many.
      identities: the label of each class, where `train.init_centres=kept` goes by them.
      seeded: begin with seeded weights in any case, for a state that takes its values from elsewhere.

    Raises:
      ConfigError: see `create_head` and `take_centres`.
      DataError: see `take_backbone`.
    """
    tf_keras.utils.set_random_seed(settings.seed)
    with _policy(settings.precision):
        backbone = backbones.build(settings.backbone, **settings.build_options())
    started = settings.init_from and not seeded
    new_layers = take_backbone(backbone, settings.init_from) if started else []
    head = create_head(settings, backbone.output_shape[-1], classes)
    kept = take_centres(head, settings, identities) if started and settings.init_centres == "kept" else None
    slow = [v for layer in backbone.layers if layer not in new_layers for v in layer.trainable_variables]
    optimizer = create_optimizer(settings, backbone, head, slow)
    l2_factor = tf.Variable(1.0, trainable=False, name="l2_factor")
    said = begun_from(settings, [layer.name for layer in new_layers], kept) if started else ""
    return TrainState(backbone, head, optimizer, l2_factor, new_layers, said)
