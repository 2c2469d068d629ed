"""The Open Inference Protocol over REST, with its binary tensors."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.server import oip
from serving.server.core import Answer, Core, Target
from serving.server.errors import invalid
from serving.server.http_server import aside, body_of, while_connected
from serving.server.journal import entry
from serving.server.json_bodies import dumped, parse
from serving.server.limits import Limits, in_time

LIVE, READY = "/v2/health/live", "/v2/health/ready"
_HEADER = "Inference-Header-Content-Length"


class OipRest:
    """The routes of the protocol."""

    def __init__(self, core: Core, limits: Limits) -> None:
        """Keeps them."""
        self._core = core
        self._limits = limits

    def routes(self) -> list[Route]:
        """For Starlette."""
        models = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
        return [
            Route("/v2", self.server),
            Route(LIVE, self.live),
            Route(READY, self.ready),
            *(Route(path, self.model) for path in models),
            *(Route(f"{path}/ready", self.model_ready) for path in models),
            *(Route(f"{path}/infer", self.infer, methods=["POST"]) for path in models),
        ]

    async def server(self, request: Request) -> Response:
        """What this server is."""
        entry().api = "ServerMetadata"
        return JSONResponse(oip.server_metadata())

    async def live(self, request: Request) -> Response:
        """Answers while the process works."""
        entry().api = "ServerLive"
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """503 while no version takes traffic, and from the first sign of the end on."""
        entry().api = "ServerReady"
        return _ready(self._core.is_ready())

    async def model_ready(self, request: Request) -> Response:
        """The same of one version."""
        entry().api = "ModelReady"
        with self._core.use(_target(request)):
            return _ready(self._core.is_ready())

    async def model(self, request: Request) -> Response:
        """A model's versions and tensors."""
        entry().api = "ModelMetadata"
        return JSONResponse(oip.model_metadata(self._core, _target(request)))

    async def infer(self, request: Request) -> Response:
        """Computes a signature."""
        entry().api = "ModelInfer"
        body = await body_of(request, self._limits)
        document, raw = await aside(len(body), _parts, body, request.headers.get(_HEADER))
        parameters = _object(document.get("parameters", {}), "parameters")
        target = _target(request, parameters.get(oip.SIGNATURE, ""))
        async with while_connected(request), in_time(self._limits.seconds):
            with self._core.use(target) as version:
                inputs = await aside(len(body), _inputs, document, raw, self._limits.body_bytes)
                wanted = _wanted(document)
                answer = await self._core.predict(target, version, inputs, list(wanted))
            entry().note(answer, inputs)
            size = sum(array.nbytes for array in answer.outputs.values())
            by_default = parameters.get("binary_data_output", False) is True
            binary = {name: wanted.get(name, {}).get("binary_data", by_default) is True for name in answer.outputs}
            return await aside(size, _response, self._core.name, answer, document.get("id"), binary)


def _ready(ready: bool) -> Response:
    return JSONResponse({"ready": ready}, 200 if ready else 503)


def _target(request: Request, signature: Any = "") -> Target:
    return oip.target_of(request.path_params["model"], request.path_params.get("version", ""), signature)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"{what}: expected an object. Received: {type(value).__name__}")
    return value


def _objects(document: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    """A list of objects, each with a name of its own."""
    value = document.get(what, [])
    if not isinstance(value, list):
        raise invalid(f"{what}: expected a list. Received: {type(value).__name__}")
    found = [_object(one, what) for one in value]
    names = [one.get("name") for one in found]
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise invalid(f"{what}: expected a name each, and each once. Received: {names!r}")
    return found


def _parts(body: bytes, header: str | None) -> tuple[dict[str, Any], memoryview]:
    """The JSON of a body, and the binary contents behind it."""
    if header is None:
        return parse(body), memoryview(b"")
    if not (header.isascii() and header.isdigit()) or int(header) > len(body):
        raise invalid(f"{_HEADER}: expected at most the body's {len(body)} bytes. Received: {header}")
    return parse(body[: int(header)]), memoryview(body)[int(header) :]


def _inputs(document: dict[str, Any], raw: memoryview, most_bytes: int) -> dict[str, np.ndarray]:
    arrays, place = {}, 0
    for given in _objects(document, "inputs"):
        name, shape = given["name"], given.get("shape")
        dtype = oip.dtype_of(name, given.get("datatype"))
        count = oip.count_of(name, shape, dtype, most_bytes)
        assert isinstance(shape, list)
        parameters = _object(given.get("parameters", {}), "parameters")
        size = parameters.get("binary_data_size")
        if size is None:
            values = _values(name, given.get("data"), dtype, parameters.get("content_type"))
            arrays[name] = oip.shaped(name, values, dtype, shape)
        else:
            if not isinstance(size, int) or not 0 <= size <= len(raw) - place:
                raise invalid(f"input {name!r}: binary_data_size: expected what the body holds. Received: {size!r}")
            arrays[name] = oip.from_raw(name, bytes(raw[place : place + size]), dtype, shape, count)
            place += size
    if place != len(raw):
        raise invalid(f"expected binary contents of {place} bytes, as binary_data_size says. Received: {len(raw)}")
    return arrays


def _values(name: str, data: Any, dtype: np.dtype, content_type: Any) -> list[Any]:
    """An input's elements in a row, whether its lists are nested or not."""
    if not isinstance(data, list):
        raise invalid(f"input {name!r}: expected data, a list. Received: {type(data).__name__}")
    flat: list[Any] = []
    rest = [iter(data)]
    while rest:
        for one in rest[-1]:
            if isinstance(one, list):
                rest.append(iter(one))
                break
            flat.append(one)
        else:
            rest.pop()
    return [_string(name, one, content_type) for one in flat] if dtype.hasobject else flat


def _string(name: str, value: Any, content_type: Any) -> bytes:
    """A string's bytes; `content_type` base64, as MLServer has it, for those that are no text."""
    if not isinstance(value, str):
        raise invalid(f"input {name!r}: expected strings. Received: {type(value).__name__}")
    if content_type != "base64":
        return value.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"input {name!r}: expected base64. Received: {error}") from error


def _wanted(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name of each output that is asked for -> its parameters; none: all."""
    return {one["name"]: _object(one.get("parameters", {}), "parameters") for one in _objects(document, "outputs")}


def _response(model: str, answer: Answer, request_id: Any, binary: dict[str, bool]) -> Response:
    told: dict[str, Any] = {"model_name": model, "model_version": str(answer.version), "outputs": []}
    if isinstance(request_id, str):
        told["id"] = request_id
    contents = []
    for name, array in answer.outputs.items():
        output: dict[str, Any] = {"name": name, "datatype": oip.datatype_of(array.dtype), "shape": list(array.shape)}
        if binary[name]:
            contents.append(oip.to_raw(array))
            output["parameters"] = {"binary_data_size": len(contents[-1])}
        elif array.dtype.hasobject:
            output["data"] = [one.decode("utf-8", "replace") for one in array.ravel().tolist()]
        else:
            output["data"] = np.ascontiguousarray(array).ravel()
        told["outputs"].append(output)
    header = dumped(told)
    if not any(binary.values()):
        return Response(header, media_type="application/json")
    body = b"".join([header, *contents])
    return Response(body, media_type="application/octet-stream", headers={_HEADER: str(len(header))})
