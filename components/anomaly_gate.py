"""ExampleValidator that stops the pipeline: TFX's own records anomalies and lets everything behind it go on."""

from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import component, executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ExecutionParameter
from tfx.types.standard_component_specs import ANOMALIES_KEY, ExampleValidatorSpec
from tfx.utils import io_utils, json_utils

from arcface_common.errors import DataError
from arcface_common.source_digest import source_digest


class AnomalyGateExecutor(executor.Executor):
    """Validates, then raises on what was found."""

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Writes the anomalies as ExampleValidator does.

        Raises:
          DataError: names every feature with an anomaly, and what is wrong with it.
        """
        result = super().Do(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(output_dict[ANOMALIES_KEY])
        found = []
        for split in artifact_utils.decode_split_names(artifact.split_names):
            anomalies = anomalies_pb2.Anomalies()
            anomalies.ParseFromString(
                io_utils.read_bytes_file(
                    f"{artifact_utils.get_split_uri([artifact], split)}/{executor.DEFAULT_FILE_NAME}"
                )
            )
            found += [f"{split}/{name}: {info.description}" for name, info in sorted(anomalies.anomaly_info.items())]
            if anomalies.HasField("dataset_anomaly_info"):
                found.append(f"{split}: {anomalies.dataset_anomaly_info.description}")
        if found:
            raise DataError(f"expected examples that the schema describes. Received: {'; '.join(found)}")
        return result


class AnomalyGateSpec(ExampleValidatorSpec):
    """ExampleValidator's spec and a digest of our source files: TFX hashes a node's properties, not its code."""

    PARAMETERS = {**ExampleValidatorSpec.PARAMETERS, "code_version": ExecutionParameter(type=str)}


class AnomalyGate(component.ExampleValidator):
    """ExampleValidator with the gate; name the nodes that must wait for it as downstream of it."""

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(AnomalyGateExecutor)

    def __init__(self, statistics: types.BaseChannel, schema: types.BaseChannel) -> None:
        """Makes the component.

        Args:
          statistics: of the examples.
          schema: what they should be like.
        """
        spec = AnomalyGateSpec(
            statistics=statistics,
            schema=schema,
            exclude_splits=json_utils.dumps([]),
            code_version=source_digest(__name__),
            anomalies=types.Channel(type=standard_artifacts.ExampleAnomalies),
        )
        # ExampleValidator's own initializer would build the stock spec, which has no room for our parameter.
        base_component.BaseComponent.__init__(self, spec=spec)
