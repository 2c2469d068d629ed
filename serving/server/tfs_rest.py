"""TF Serving's REST: its paths, both forms of a body, its errors and its metrics."""

import re

from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from serving.server import json_bodies
from serving.server.core import DEFAULT_SIGNATURE, Answer, Core, Target
from serving.server.errors import Code, ServingError, invalid
from serving.server.http_server import aside, body_of, while_connected
from serving.server.journal import entry
from serving.server.limits import Limits, in_time

METRICS = "/monitoring/prometheus/metrics"
_MODEL = r"(?i:/v1/models)/(?P<model>[^/:]+)(?:(?i:/versions)/(?P<version>[0-9]+)|(?i:/labels)/(?P<label>[^/:]+))?"
_PREDICT = re.compile(rf"{_MODEL}:(?P<method>(?i:classify|regress|predict))")
_TELL = re.compile(rf"{_MODEL}(?P<what>/(?i:metadata))?")


class TfsRest:
    """The routes of TF Serving."""

    def __init__(self, core: Core, limits: Limits) -> None:
        """Keeps them."""
        self._core = core
        self._limits = limits

    def routes(self) -> list[Route]:
        """For Starlette."""
        every = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
        below = [Route(f"/{version}/{{rest:path}}", self.answer, methods=every) for version in ("v1", "V1")]
        return [Route(METRICS, self.metrics), *below]

    async def metrics(self, request: Request) -> Response:
        """All counters, for Prometheus."""
        entry().api = "Metrics"
        return PlainTextResponse(self._core.metrics.text(), media_type="text/plain; version=0.0.4")

    async def answer(self, request: Request) -> Response:
        """A request below /v1."""
        path = request.url.path
        if request.method == "POST" and (found := _PREDICT.fullmatch(path)):
            method = found["method"].lower()
            entry().api = method.capitalize()
            if method != "predict":
                reason = f"{method} is not offered: the model's signatures are for predict"
                raise ServingError(Code.UNIMPLEMENTED, reason)
            return await self._predict(found, request)
        if request.method == "GET" and (found := _TELL.fullmatch(path)):
            return self._told(found, request.query_params.getlist("field"))
        raise invalid(f"Malformed request: {request.method} {path}")

    async def _predict(self, found: re.Match[str], request: Request) -> Response:
        body = await body_of(request, self._limits)
        document = await aside(len(body), json_bodies.parse, body)
        target = _target(found, document.get("signature_name", ""))
        async with while_connected(request), in_time(self._limits.seconds):
            with self._core.use(target) as version:
                assert version.servable is not None
                name = target.signature or DEFAULT_SIGNATURE
                if name not in version.servable.signatures:
                    raise invalid(f'Serving signature name: "{name}" not found in signature def')
                signature = version.servable.signatures[name]
                inputs, rows = await aside(len(body), json_bodies.inputs_of, document, signature)
                answer: Answer = await self._core.predict(target, version, inputs)
            entry().note(answer, inputs)
            size = sum(array.nbytes for array in answer.outputs.values())
            content = await aside(size, json_bodies.answer, answer.outputs, rows)
        return Response(content, media_type="application/json")

    def _told(self, found: re.Match[str], fields: list[str]) -> Response:
        """Metadata (beyond TF Serving, of `?field=`) or status."""
        from serving.server.tfs_grpc import metadata_response, status_response

        target = _target(found, "")
        if found["what"]:
            entry().api = "GetModelMetadata"
            message = metadata_response(self._core, target, *([fields] if fields else []))
        else:
            entry().api = "GetModelStatus"
            message = status_response(self._core, target)
        text = json_format.MessageToJson(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        return Response(text + "\n", media_type="application/json")


def _target(found: re.Match[str], signature: str) -> Target:
    version = found["version"]
    if version is not None and int(version) >= 2**63:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return Target(found["model"], int(version or 0) or None, found["label"], signature)
