"""Spec of the Exporter."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.types.standard_component_specs import MODEL_KEY, MODEL_RUN_KEY

from arcface_common.source_digest import source_digest
from serving.exporter.executor import CODE_VERSION_KEY, MAX_IMAGE_PIXELS_KEY, START_KEY, ExporterExecutor


class ExporterSpec(component_spec.ComponentSpec):
    """A checkpoint, what the signatures are told, and what belongs to the cache key."""

    PARAMETERS = {
        START_KEY: ExecutionParameter(type=str),
        MAX_IMAGE_PIXELS_KEY: ExecutionParameter(type=int),
        "start_digest": ExecutionParameter(type=str),
        CODE_VERSION_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {MODEL_RUN_KEY: ChannelParameter(type=standard_artifacts.ModelRun, optional=True)}
    OUTPUTS = {MODEL_KEY: ChannelParameter(type=standard_artifacts.Model)}


class Exporter(base_component.BaseComponent):
    """Exports a training's checkpoint, or one that lies in a folder.

    Component `outputs` contains:

     - `model`: Model, a SavedModel with all that describes it in `assets.extra`.
    """

    SPEC_CLASS = ExporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ExporterExecutor)

    def __init__(
        self,
        max_image_pixels: int,
        backbone: str,
        *,
        model_run: types.BaseChannel | None = None,
        start: str = "",
        start_digest: str = "",
    ) -> None:
        """Makes the component.

        Args:
          max_image_pixels: width x height of an image that the graph decodes at most.
          backbone: name of the network; the module of an own one belongs to the cache key.
          model_run: of the Trainer.
          start: without `model_run`, the folder of a training run or an import, whose checkpoint is exported; empty
            where a local run hands over `train.init_from`.
          start_digest: of that checkpoint, which stands for the folder in a local run's cache key.
        """
        super().__init__(
            ExporterSpec(
                model_run=model_run,
                start=start,
                start_digest=start_digest,
                max_image_pixels=max_image_pixels,
                code_version=source_digest("serving.exporter.executor", backbone=backbone),
                model=types.Channel(type=standard_artifacts.Model),
            )
        )
