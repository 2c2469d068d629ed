"""The Open Inference Protocol over gRPC."""

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np

from serving import protos
from serving.server import oip
from serving.server.core import Core
from serving.server.errors import invalid
from serving.server.journal import entry
from serving.server.limits import Limits

SERVICE = "inference.GRPCInferenceService"
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def _message(name: str) -> Any:
    return protos.message("open_inference", f"inference.{name}")


class InferenceService:
    """GRPCInferenceService."""

    def __init__(self, core: Core, limits: Limits) -> None:
        """Keeps them."""
        self._core = core
        self._limits = limits

    def handler(self) -> Any:
        """For a server's `add_generic_rpc_handlers`."""
        methods: dict[str, Callable[[Any, Any], Any]] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server,
            "ModelMetadata": self._model,
            "ModelInfer": self._infer,
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                method,
                request_deserializer=_message(f"{name}Request").FromString,
                response_serializer=_message(f"{name}Response").SerializeToString,
            )
            for name, method in methods.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def _live(self, request: Any, context: Any) -> Any:
        return _message("ServerLiveResponse")(live=True)

    async def _ready(self, request: Any, context: Any) -> Any:
        return _message("ServerReadyResponse")(ready=self._core.is_ready())

    async def _model_ready(self, request: Any, context: Any) -> Any:
        with self._core.use(oip.target_of(request.name, request.version, "")):
            return _message("ModelReadyResponse")(ready=self._core.is_ready())

    async def _server(self, request: Any, context: Any) -> Any:
        return _message("ServerMetadataResponse")(**oip.server_metadata())

    async def _model(self, request: Any, context: Any) -> Any:
        told = oip.model_metadata(self._core, oip.target_of(request.name, request.version, ""))
        return _message("ModelMetadataResponse")(**told)

    async def _infer(self, request: Any, context: Any) -> Any:
        asked = request.parameters[oip.SIGNATURE].string_param if oip.SIGNATURE in request.parameters else ""
        target = oip.target_of(request.model_name, request.model_version, asked)
        with self._core.use(target) as version:
            inputs = self._inputs(request)
            answer = await self._core.predict(target, version, inputs, [output.name for output in request.outputs])
        entry().note(answer, inputs)
        response = _message("ModelInferResponse")(
            model_name=self._core.name, model_version=str(answer.version), id=request.id
        )
        for name, array in answer.outputs.items():
            datatype = oip.datatype_of(array.dtype)
            output = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if request.raw_input_contents or datatype not in _CONTENTS:
                response.raw_output_contents.append(oip.to_raw(array))
            else:
                getattr(output.contents, _CONTENTS[datatype]).extend(array.ravel().tolist())
        return response

    def _inputs(self, request: Any) -> dict[str, np.ndarray]:
        """The request's arrays: all raw, or none."""
        raw = request.raw_input_contents
        if raw and len(raw) != len(request.inputs):
            raise invalid(
                f"raw_input_contents: expected one for each of {len(request.inputs)} inputs. Received: {len(raw)}"
            )
        arrays = {}
        for i, given in enumerate(request.inputs):
            dtype = oip.dtype_of(given.name, given.datatype)
            shape = list(given.shape)
            count = oip.count_of(given.name, shape, dtype, self._limits.body_bytes)
            if given.name in arrays:
                raise invalid(f"input {given.name!r}: expected once. Received: twice")
            if raw:
                arrays[given.name] = oip.from_raw(given.name, raw[i], dtype, shape, count)
            elif given.datatype in _CONTENTS:
                values = list(getattr(given.contents, _CONTENTS[given.datatype]))
                arrays[given.name] = oip.shaped(given.name, values, dtype, shape)
            else:
                raise invalid(f"input {given.name!r}: expected {given.datatype} in raw_input_contents. Received: none")
        return arrays
