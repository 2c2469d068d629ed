"""Executor of the Exporter."""

import dataclasses
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.types.standard_component_specs import MODEL_KEY, MODEL_RUN_KEY
from tfx.utils import path_utils

from arcface_common.model_metadata import ModelMetadata
from serving.export import export_saved_model
from trainer_module import backbones
from trainer_module.settings import handed_over
from trainer_module.training import checkpoints
from trainer_module.training.curve import CURVE_FILE

START_KEY, MAX_IMAGE_PIXELS_KEY, CODE_VERSION_KEY = "start", "max_image_pixels", "code_version"


class ExporterExecutor(base_executor.BaseExecutor):
    """Reads a checkpoint into a network built without a strategy, and writes its SavedModel.

    So the SavedModel is the same whatever trained it.
    """

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Exports.

        Args:
          input_dict: `model_run`, or nothing.
          output_dict: `model`.
          exec_properties: see `ExporterSpec`.

        Raises:
          DataError: the folder holds no `model.json` or no whole checkpoint.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        trained = input_dict.get(MODEL_RUN_KEY)
        if trained:
            folder = artifact_utils.get_single_uri(trained)
        else:
            folder = exec_properties[START_KEY] or handed_over()["init_from"]
        metadata = ModelMetadata.read(folder)
        backbone = backbones.build(metadata.backbone, **metadata.options)
        checkpoints.read_backbone(backbone, folder)
        export_saved_model(
            backbone,
            path_utils.serving_model_dir(artifact_utils.get_single_uri(output_dict[MODEL_KEY])),
            dataclasses.replace(
                metadata,
                max_image_pixels=exec_properties[MAX_IMAGE_PIXELS_KEY],
                code_version=exec_properties[CODE_VERSION_KEY],
            ),
            beside=[os.path.join(folder, CURVE_FILE)],
        )
