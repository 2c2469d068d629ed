"""How a client asks a model server: gRPC and REST as TF Serving speaks them. Needs no TensorFlow."""

import base64
import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from arcface_common import filesystem
from arcface_common.arguments import PATH, TEXT, Kind, check, is_real
from arcface_common.artifacts import MODEL_NAME
from arcface_common.errors import DataError
from serving.asking import (
    ERRORS,
    LONGEST_PAUSE_S,
    NotFoundError,
    PassingError,
    RefusedInputError,
    ServerError,
    patiently,
)
from serving.signature_names import MODEL_VERSION_HEADER

_PACKAGE = "arcface_tfx.tf_serving"
_STRING, _FLOAT, _BOOL = 7, 1, 10  # tensorflow.DataType
_LONGEST_S = 86_400
_ADDRESS = re.compile(r"(?:(?P<scheme>grpcs?|https?)://)?(?P<host>\[[0-9a-fA-F:.]+\]|[^\s/:\[\]]+):(?P<port>\d{1,5})/?")
_LARGEST = 1 << 30  # bytes of an answer
# Of a name of several pods, as a headless service of Kubernetes is, all are asked in turn.
_SERVICE_CONFIG: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
_SECONDS = Kind(f"seconds above 0 and at most {_LONGEST_S:,}", lambda value: is_real(value) and 0 < value <= _LONGEST_S)
_TOKEN = Kind(
    "a token in ASCII without spaces",
    lambda value: isinstance(value, str) and value.isascii() and value.isprintable() and value.split() == [value],
    shown=False,
)
_KINDS = {
    "address": Kind("text, such as '127.0.0.1:8500'", lambda value: isinstance(value, str)),
    "model": TEXT,
    "seconds": _SECONDS,
    "token": _TOKEN.or_none(),
    "certificate": PATH.or_none(),
}
Images = Sequence[bytes]


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What a signature answered.

    Attributes:
      outputs: name -> float32 or bool array.
      version: of the model that answered; None where the server doesn't tell, as TF Serving's REST.
    """

    outputs: dict[str, np.ndarray]
    version: int | None


@dataclasses.dataclass(frozen=True)
class Server:
    """Where a server is and how it is asked.

    Attributes:
      address: "HOST:PORT" for gRPC, or with "grpc://", "grpcs://" (TLS), "http://" or "https://" before it.
      model: the model's name.
      seconds: that a request may take, all tries together. What a server that is too full, starts, ends or isn't there
        can't answer is asked again until then.
      token: bearer token; None: none.
      certificate: file of the certificate authority (PEM) that TLS trusts; None: the system's.

    Raises:
      DataError: one of another kind.
      OSError: no certificate that can be read.
    """

    address: str
    model: str = MODEL_NAME
    seconds: float = 30.0
    token: str | None = None
    certificate: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            check(name, getattr(self, name), kind)
        if self.certificate is not None:
            with filesystem.open_read(os.fspath(self.certificate)):  # a missing one is said by its name, not by TLS
                pass

    def transport(self) -> "Transport":
        """Opens the way there; nothing is asked yet.

        Raises:
          DataError: no such form of an address.
        """
        found = _ADDRESS.fullmatch(self.address)
        if not found or int(found["port"]) > 65535:
            raise DataError(
                f"server: expected HOST:PORT, or grpc://, grpcs://, http:// or https:// before it. "
                f"Received: {self.address!r}"
            )
        scheme, place = found["scheme"] or "grpc", f"{found['host']}:{found['port']}"
        if scheme.startswith("grpc"):
            return GrpcTransport(self, place, secure=scheme == "grpcs")
        return RestTransport(self, f"{scheme}://{place}")


class Transport(Protocol):
    """A way to a server."""

    def predict(self, signature: str, inputs: Mapping[str, Images]) -> Predicted:
        """What a signature answers.

        Raises:
          ServerError: it doesn't answer, or refuses.
        """

    def file(self, name: str) -> str | None:
        """A JSON file that the version brings; None where the server tells none, as TF Serving.

        Raises:
          ServerError: it doesn't answer.
        """

    def close(self) -> None:
        """Hangs up."""


class GrpcTransport:
    """TF Serving's PredictionService."""

    def __init__(self, server: Server, place: str, secure: bool) -> None:
        """Opens a channel.

        Args:
          server: see there.
          place: "host:port".
          secure: by TLS.
        """
        import grpc

        options = [
            ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
            ("grpc.max_reconnect_backoff_ms", int(LONGEST_PAUSE_S * 1000)),
            ("grpc.max_receive_message_length", _LARGEST),
            ("grpc.max_send_message_length", _LARGEST),
        ]
        if secure:
            roots = filesystem.read_file(os.fspath(server.certificate)) if server.certificate else None
            self._channel = grpc.secure_channel(place, grpc.ssl_channel_credentials(roots), options)
        else:
            self._channel = grpc.insecure_channel(place, options)
        self._server = server
        self._hint = "" if secure else " (grpcs:// asks by TLS)"
        self._metadata = [("authorization", f"Bearer {server.token}")] if server.token else []

    def predict(self, signature: str, inputs: Mapping[str, Images]) -> Predicted:
        """See `Transport`."""
        request = _message("PredictRequest")(model_spec={"name": self._server.model, "signature_name": signature})
        for name, values in inputs.items():
            tensor = request.inputs[name]
            tensor.dtype = _STRING
            tensor.tensor_shape.dim.add(size=len(values))
            tensor.string_val.extend(values)
        answer = self._call("Predict", request, "PredictResponse")
        with _understood(self._server):
            outputs = {name: _array(tensor) for name, tensor in answer.outputs.items()}
        return Predicted(outputs, answer.model_spec.version.value or None)

    def file(self, name: str) -> str | None:
        """See `Transport`."""
        from google.protobuf import wrappers_pb2

        request = _message("GetModelMetadataRequest")(model_spec={"name": self._server.model}, metadata_field=[name])
        try:
            answer = self._call("GetModelMetadata", request, "GetModelMetadataResponse")
        except (RefusedInputError, NotFoundError):
            return None
        return str(wrappers_pb2.StringValue.FromString(answer.metadata[name].value).value)

    def close(self) -> None:
        """See `Transport`."""
        self._channel.close()

    def _call(self, method: str, request: Any, answer: str) -> Any:
        import grpc

        call = self._channel.unary_unary(
            f"/tensorflow.serving.PredictionService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=_message(answer).FromString,
        )

        def ask(seconds: float) -> Any:
            try:
                return call(request, timeout=seconds, metadata=self._metadata)
            except grpc.RpcError as error:
                code = error.code().name
                hint = self._hint if code == "UNAVAILABLE" else ""
                raise ERRORS.get(code, ServerError)(
                    _refused(self._server, f"{code}, {error.details()}{hint}")
                ) from error

        return patiently(self._server.seconds, ask)


class RestTransport:
    """TF Serving's REST."""

    def __init__(self, server: Server, base: str) -> None:
        """Makes a pool of connections.

        Args:
          server: see there.
          base: "http://host:port".
        """
        import urllib3

        trusted = None if server.certificate is None else os.fspath(server.certificate)
        self._pool = urllib3.PoolManager(ca_certs=trusted, retries=False)
        self._server = server
        self._model = f"{base}/v1/models/{server.model}"
        self._headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}

    def predict(self, signature: str, inputs: Mapping[str, Images]) -> Predicted:
        """See `Transport`."""
        columns = {name: [{"b64": base64.b64encode(one).decode()} for one in values] for name, values in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns})
        answer, version = self._ask("POST", f"{self._model}:predict", body)
        outputs = answer.get("outputs")
        if not isinstance(outputs, dict):
            raise ServerError(_refused(self._server, "an answer without named outputs"))
        with _understood(self._server):
            arrays: dict[str, np.ndarray] = {name: np.array(value, _dtype(value)) for name, value in outputs.items()}
        return Predicted(arrays, int(version) if version.isdecimal() else None)

    def file(self, name: str) -> str | None:
        """See `Transport`."""
        try:
            answer, _ = self._ask("GET", f"{self._model}/metadata?field={name}")
        except (RefusedInputError, NotFoundError):
            return None
        told = answer.get("metadata")
        for key in (name, "value"):
            told = told.get(key) if isinstance(told, dict) else None
        return told if isinstance(told, str) else None

    def close(self) -> None:
        """See `Transport`."""
        self._pool.clear()

    def _ask(self, method: str, url: str, body: str | None = None) -> tuple[dict[str, Any], str]:
        """A JSON object, and the version that the answer's head tells, or ""."""
        return patiently(self._server.seconds, lambda seconds: self._ask_once(method, url, body, seconds))

    def _ask_once(self, method: str, url: str, body: str | None, seconds: float) -> tuple[dict[str, Any], str]:
        import urllib3

        try:
            with self._pool.request(
                method, url, body=body, headers=self._headers, timeout=seconds, preload_content=False
            ) as response:
                data = response.read(_LARGEST + 1, decode_content=True)
            answer = json.loads(data) if len(data) <= _LARGEST else None
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ProtocolError) as error:
            raise PassingError(_refused(self._server, str(error))) from error
        except urllib3.exceptions.HTTPError as error:
            raise ServerError(_refused(self._server, str(error))) from error
        except ValueError as error:
            raise ServerError(_refused(self._server, f"status {response.status} without JSON")) from error
        if not isinstance(answer, dict):
            raise ServerError(_refused(self._server, f"status {response.status} with JSON that is no object"))
        if response.status != 200:
            reason = _refused(self._server, f"status {response.status}, {answer.get('error')}")
            raise ERRORS.get(response.status, ServerError)(reason)
        return answer, response.headers.get(MODEL_VERSION_HEADER, "")


def _refused(server: Server, received: str) -> str:
    return f"{server.address}: expected the model {server.model!r} to answer. Received: {received}"


def _message(name: str) -> Any:
    from serving.protos import message

    return message("tf_serving", f"{_PACKAGE}.{name}")


@contextlib.contextmanager
def _understood(server: Server) -> Iterator[None]:
    """Has outputs that are no arrays of floats or truths end as a server of another kind does."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        raise ServerError(_refused(server, f"outputs that are no arrays of floats or truths ({error})")) from error


def _array(tensor: Any) -> np.ndarray:
    """A tensor of floats or truths; servers give values one by one, or as they lie in memory.

    Raises:
      ValueError: it is of another type, or has other values than its shape says.
    """
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    known = {_FLOAT: (np.float32, tensor.float_val), _BOOL: (np.bool_, tensor.bool_val)}
    if tensor.dtype not in known:
        raise ValueError(f"TensorFlow's type {tensor.dtype}")
    dtype, values = known[tensor.dtype]
    flat: np.ndarray = np.frombuffer(tensor.tensor_content, dtype) if tensor.tensor_content else np.array(values, dtype)
    return flat.reshape(shape)


def _dtype(value: Any) -> type:
    while isinstance(value, list) and value:
        value = value[0]
    return np.bool_ if isinstance(value, bool) else np.float32
