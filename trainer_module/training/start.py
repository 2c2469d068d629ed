"""What a training takes over from the run or import that it starts from: the backbone and, if asked, class centres."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow_transform as tft
import tf_keras

from arcface_common import features, filesystem
from arcface_common.artifacts import IDENTITIES_FILE
from arcface_common.errors import DataError
from arcface_common.model_metadata import ModelMetadata
from arcface_common.setting import require
from trainer_module.heads import Head
from trainer_module.identities import read_identities
from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints

_CENTRES = "head/centres/.ATTRIBUTES/VARIABLE_VALUE"


class KeptCentres(NamedTuple):
    """How many identities kept their centres, how many there were before, and how many there are."""

    kept: int
    before: int
    now: int


def identities_of(transform_graph: str) -> list[str]:
    """The label of each class, in the order of the classes, as Transform found them."""
    labels = tft.TFTransformOutput(transform_graph).vocabulary_by_name(features.IDENTITY_VOCABULARY)
    return [label.decode() for label in labels]


def write_identities(transform_graph: str, run_dir: str) -> None:
    """Writes `identities.txt` beside the checkpoint, aside, then renames it into place."""
    text = "".join(f"{label}\n" for label in identities_of(transform_graph))
    filesystem.write_file(os.path.join(run_dir, IDENTITIES_FILE), text.encode(), run_dir)


def take_backbone(backbone: tf_keras.Model, run_dir: str) -> list[tf_keras.layers.Layer]:
    """Fills a backbone from a run or an import.

    Args:
      backbone: of the structure that `run_dir` has; the embedding may have other dimensions.
      run_dir: folder of a training run or an import.

    Returns:
      The layers that stay new, since their shapes go by the embedding.

    Raises:
      DataError: there is no `model.json`, or no whole checkpoint of such a backbone.
    """
    if ModelMetadata.read(run_dir).embedding_dim == backbone.output_shape[-1]:
        checkpoints.read_backbone(backbone, run_dir)
        return []
    shapes = checkpoints.shapes(run_dir)
    weighted = [layer for layer in backbone.layers if layer.weights]
    taken = dict[str, tf_keras.layers.Layer]()
    for i, layer in enumerate(weighted):
        name = f"layer_with_weights-{i}"  # Keras's, in a checkpoint
        before = sorted(shape for key, shape in shapes.items() if key.startswith(f"backbone/{name}/"))
        if before == sorted(variable.shape.as_list() for variable in layer.weights):
            taken[name] = layer
    checkpoints.read_backbone(backbone, run_dir, taken)
    return [layer for layer in weighted if layer not in taken.values()]


def take_centres(head: Head, settings: TrainSettings, identities: Sequence[str]) -> KeptCentres:
    """Fills the centres of the identities that the run has too, by their labels. The others stay as they were drawn.

    Args:
      head: of this training.
      settings: `init_from`; with more `sub_centres` than the run had, the further ones stay as they were drawn.
      identities: the label of each class of this training.

    Raises:
      ConfigError: the run has no class centres with labels, or of other dimensions, or more of them for each identity.
      DataError: the run's labels are of another number of identities than its centres.
    """
    run_dir, path = settings.init_from, os.path.join(settings.init_from, IDENTITIES_FILE)
    shape = checkpoints.shapes(run_dir).get(_CENTRES)
    require(settings, "init_centres", bool(shape) and filesystem.exists(path), f"another, since {run_dir} has none")
    assert shape
    values, (count, many, width) = head.whole_centres(), shape
    fits = many <= values.shape[1] and width == values.shape[2]
    before, now = (f"{of[-2]} of {of[-1]} dimensions" for of in (shape, values.shape))
    require(settings, "init_centres", fits, f"another, since an identity has {now}, and had {before}")
    labels = read_identities(path)
    if len(labels) != count:
        raise DataError(f"{path}: expected the labels of {count:,} identities. Received: {len(labels):,}")
    place = {label: row for row, label in enumerate(labels)}
    kept = [(row, place[label]) for row, label in enumerate(identities) if label in place]
    if kept:
        to, of = map(list, zip(*kept, strict=True))
        values[to, :many] = checkpoints.read_value(run_dir, _CENTRES)[of]
        head.take_centres(values)
    return KeptCentres(len(kept), count, len(identities))
