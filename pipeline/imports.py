"""Writes an imported backbone as what a training run leaves behind: to fine-tune from, to evaluate, to serve."""

import os
from pathlib import Path

import tensorflow as tf

from arcface_common.artifacts import IMPORTED_MODEL
from arcface_common.aside import folder_aside
from arcface_common.errors import DataError
from arcface_common.model_metadata import ModelMetadata
from serving.export import export_saved_model
from trainer_module.training import checkpoints
from trainer_module.weights.structure import Imported

MAPPING_FILE = "mapping.txt"


def write_import(imported: Imported, out: str) -> None:
    """Writes `checkpoint/`, `model.json`, `mapping.txt` and `saved_model/`, aside first, then renamed.

    Args:
      imported: the backbone with published weights.
      out: folder to make.

    Raises:
      DataError: the folder exists.
    """
    if os.path.exists(out):
        raise DataError(f"{out}: expected a folder that doesn't exist yet. Received: an existing one")
    metadata = ModelMetadata(
        backbone=imported.name,
        options=dict(imported.options),
        embedding_dim=imported.embedding_dim,
        pixel_format=imported.pixel_format,
        classes=0,
        training={"imported_from": imported.source},
    )
    with folder_aside(Path(out)) as partial:
        aside = str(partial)
        checkpoints.write(tf.train.Checkpoint(backbone=imported.backbone), aside, is_chief=True)
        metadata.write(aside)
        with open(os.path.join(aside, MAPPING_FILE), "w") as f:
            f.write(imported.report() + "\n")
        export_saved_model(imported.backbone, os.path.join(aside, IMPORTED_MODEL), metadata)
