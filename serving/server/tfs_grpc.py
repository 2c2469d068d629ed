"""TF Serving's gRPC: PredictionService and ModelService. What they raise becomes a status in `grpc_server`."""

import os
from collections.abc import Iterable
from typing import Any

from google.protobuf import wrappers_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from arcface_common import filesystem
from arcface_common.artifacts import EXTRA, METADATA_FILE, VERIFICATION_FILE
from serving.server.core import Core, Target
from serving.server.errors import Code, ServingError, invalid
from serving.server.journal import entry
from serving.server.limits import Limits
from serving.server.manager import Version
from serving.server.tensors import to_array, to_proto

_SIGNATURES = "signature_def"


def target_of(spec: Any) -> Target:
    """Whom a ModelSpec asks; version 0 is the latest, as OpenVINO's client says it."""
    chosen = spec.WhichOneof("version_choice")
    return Target(
        spec.name,
        spec.version.value or None if chosen == "version" else None,
        spec.version_label if chosen == "version_label" else None,
        spec.signature_name,
    )


def signature_map(version: Version) -> Any:
    """TensorFlow's SignatureDefMap of a version."""
    assert version.servable is not None
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in version.servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature.definition)
    return signatures


def metadata_response(core: Core, target: Target, fields: Iterable[str] = (_SIGNATURES,)) -> Any:
    """GetModelMetadataResponse, also for REST.

    Args:
      core: to be asked.
      target: whose metadata.
      fields: "signature_def"; beyond TF Serving, the JSON files that a version of ours brings.

    Raises:
      ServingError: no such version or field.
    """
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with core.use(target) as version:
        response.model_spec.name = core.name
        response.model_spec.version.value = version.number
        for field in fields:
            if field == _SIGNATURES:
                response.metadata[field].Pack(signature_map(version))
            elif field in (METADATA_FILE, VERIFICATION_FILE):
                response.metadata[field].Pack(wrappers_pb2.StringValue(value=_told(version, field)))
            else:
                raise invalid(f"Metadata field {field} is not supported")
    return response


def _told(version: Version, name: str) -> str:
    """A JSON file of `assets.extra`."""
    assert version.servable is not None
    path = os.path.join(version.servable.path, EXTRA, name)
    try:
        return filesystem.read_file(path).decode()
    except (OSError, ValueError) as error:
        raise ServingError(Code.NOT_FOUND, f"version {version.number} brings no {name}") from error


def status_response(core: Core, target: Target) -> Any:
    """GetModelStatusResponse, also for REST.

    Raises:
      ServingError: no such version.
    """
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in core.status(target):
        added = response.model_version_status.add(version=version.number, state=int(version.state))
        added.status.SetInParent()
        if version.error is not None:
            added.status.error_code = int(version.error.code)
            added.status.error_message = str(version.error)
    return response


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the others need signatures that take Examples, of which there are none here."""

    def __init__(self, core: Core, limits: Limits) -> None:
        """Keeps them."""
        self._core = core
        self._limits = limits

    async def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802 - TF Serving's name
        """Computes a signature."""
        target = target_of(request.model_spec)
        with self._core.use(target) as version:
            inputs = {name: to_array(name, tensor, self._limits.body_bytes) for name, tensor in request.inputs.items()}
            answer = await self._core.predict(target, version, inputs, list(request.output_filter))
        entry().note(answer, inputs)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = self._core.name
        response.model_spec.version.value = answer.version
        response.model_spec.signature_name = answer.signature
        for name, array in answer.outputs.items():
            response.outputs[name].CopyFrom(to_proto(array))
        return response

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Tells the signatures."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        return metadata_response(self._core, target_of(request.model_spec), request.metadata_field)

    async def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Is not offered."""
        raise _unimplemented("Classify")

    async def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Is not offered."""
        raise _unimplemented("Regress")

    async def MultiInference(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Is not offered."""
        raise _unimplemented("MultiInference")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus."""

    def __init__(self, core: Core) -> None:
        """Keeps it."""
        self._core = core

    async def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Tells the versions' states."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return status_response(self._core, target_of(request.model_spec))

    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Is not offered: the folder is followed."""
        raise _unimplemented("HandleReloadConfigRequest")


def _unimplemented(method: str) -> ServingError:
    return ServingError(Code.UNIMPLEMENTED, f"{method} is not offered: the model's signatures are for Predict")


def register(server: Any, core: Core, limits: Limits) -> list[str]:
    """Adds both services to a gRPC server; their names."""
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(core, limits), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core), server)
    return ["tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"]
