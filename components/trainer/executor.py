"""Executor of the Trainer."""

from typing import Any

from tfx import types
from tfx.components.trainer import executor, fn_args_utils
from tfx.types import artifact_utils
from tfx.types.standard_component_specs import MODEL_RUN_KEY

from trainer_module.run_fn import run_fn


class TrainerExecutor(executor.GenericExecutor):
    """Runs `run_fn`; TFX's own insists on a SavedModel."""

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains.

        Raises:
          DataError: see `run_fn`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        fn_args = fn_args_utils.get_common_fn_args(input_dict, exec_properties)
        fn_args.model_run_dir = artifact_utils.get_single_uri(output_dict[MODEL_RUN_KEY])
        run_fn(fn_args)
