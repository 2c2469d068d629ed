"""The gRPC server around the services: who may ask, how long, how it ends, health and reflection."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from arcface_common.errors import in_short
from serving.server.described import described
from serving.server.errors import STARTING, Code, ServingError, invalid
from serving.server.journal import Journal
from serving.server.limits import Limits, Token, in_time, request_id
from serving.server.words import tell

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_HEALTH = "/grpc.health.v1.Health/"
_METADATA = "x-request-id"
_PROBES = ("ServerLive", "ServerReady")
Method = Callable[[Any, Any], Awaitable[Any]]


class Guard(grpc.aio.ServerInterceptor):
    """Lets those in who may, gives each request its time, and makes a status of what a service raises."""

    def __init__(self, journal: Journal, token: Token, limits: Limits, ready: asyncio.Event) -> None:
        """Keeps them.

        Args:
          journal: of requests.
          token: that they must carry.
          limits: of requests.
          ready: set once more than probes can be answered; until then it is UNAVAILABLE, which clients ask again after.
        """
        self._journal = journal
        self._token = token
        self._limits = limits
        self._ready = ready

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wraps a method's handler."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(_HEALTH):
            return handler  # probes carry no token
        metadata = dict(handler_call_details.invocation_metadata or ())
        admitted = self._token.admits(metadata.get("authorization"))
        if handler.unary_unary is None:
            return handler if admitted else _refusing(handler)
        answer = self._answering(handler, handler_call_details.method, metadata.get(_METADATA), admitted)
        return grpc.unary_unary_rpc_method_handler(answer, response_serializer=handler.response_serializer)

    def _answering(self, handler: Any, path: str, given_id: str | None, admitted: bool) -> Method:
        async def answer(request: bytes, context: Any) -> Any:
            method = path.rpartition("/")[2]
            with self._journal.entry(request_id(given_id), method, "GRPC") as entry:
                context.set_trailing_metadata(((_METADATA, entry.request_id),))
                try:
                    if not admitted:
                        raise _unauthenticated()
                    if method not in _PROBES and not self._ready.is_set():
                        raise ServingError(Code.UNAVAILABLE, STARTING)
                    async with in_time(self._limits.seconds):
                        return await handler.unary_unary(handler.request_deserializer(request), context)
                except ServingError as error:
                    entry.code, reason = error.code, str(error)
                except DecodeError as error:
                    entry.code, reason = Code.INVALID_ARGUMENT, str(invalid(str(error)))
                except asyncio.CancelledError:
                    entry.code = Code.CANCELLED
                    raise
                except Exception as error:
                    entry.code, reason = Code.INTERNAL, "the server failed; its log says more"
                    tell(f"warning: request {entry.request_id}: {type(error).__name__}: {in_short(error)}")
            await context.abort(_CODES[int(entry.code)], reason)

        return answer


def _unauthenticated() -> ServingError:
    return ServingError(Code.UNAUTHENTICATED, "expected a bearer token that is known")


def _refusing(handler: Any) -> Any:
    async def refuse(request: Any, context: Any) -> None:
        error = _unauthenticated()
        await context.abort(_CODES[int(error.code)], str(error))

    make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
    return make(refuse, handler.request_deserializer, handler.response_serializer)


class GrpcServer:
    """A server of services, with health and reflection."""

    def __init__(self, guard: Guard, limits: Limits) -> None:
        """Makes it, without a service.

        Args:
          guard: through which all requests go.
          limits: of requests.
        """
        options = (
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.server_handshake_timeout_ms", int(limits.body_seconds * 1000)),
        )
        self.server = grpc.aio.server(
            interceptors=(guard,), options=options, maximum_concurrent_rpcs=limits.connections
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        self._services = [health.SERVICE_NAME, reflection.SERVICE_NAME]

    def offer(self, services: Iterable[str]) -> None:
        """Names the services that health and reflection tell of."""
        self._services += services

    async def start(self, address: str, credentials: Any = None) -> int:
        """Binds and starts.

        Args:
          address: "host:port"; port 0 takes a free one.
          credentials: of TLS; None: plain.

        Returns:
          The port.

        Raises:
          OSError: it can't be bound.
        """
        reflection.enable_server_reflection(self._services, self.server, described())
        try:
            if credentials is None:
                port = self.server.add_insecure_port(address)
            else:
                port = self.server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"{address}: expected an address that is free. Received: {error}") from error
        await self.tell(ready=False)
        await self.server.start()
        return int(port)

    async def tell(self, ready: bool) -> None:
        """What health answers from now on."""
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *self._services):
            await self._health.set(service, status)
