"""The HTTP server around the routes: who may ask, how much, how long, and how it ends."""

import asyncio
import contextlib
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from arcface_common.errors import in_short
from serving.server.errors import STARTING, Code, ServingError
from serving.server.journal import Entry, Journal, entry
from serving.server.limits import Limits, Token, request_id
from serving.server.words import tell
from serving.signature_names import MODEL_VERSION_HEADER

_Result = TypeVar("_Result")
_ID = "x-request-id"
_IN_THREAD = 1 << 16  # bytes: 64 KiB of JSON take 0.1 ms, 64 MiB half a second
_GRACE = 5.0  # seconds that a client has to read that it was too slow, before it is hung up on
# Of Starlette's own answers: no such path, and no such method on it.
_CODES = {404: Code.NOT_FOUND, 405: Code.UNIMPLEMENTED}
_HUNG_UP = "the client hung up"
_INFLATED_BY = {"gzip": 31, "deflate": 15}  # zlib's window bits


class Guard:
    """ASGI: lets those in who may, and gives each request its line in the journal."""

    def __init__(
        self, app: Any, journal: Journal, token: Token, open_paths: frozenset[str], ready: asyncio.Event
    ) -> None:
        """Keeps them.

        Args:
          app: the routes.
          journal: of requests.
          token: that they must carry.
          open_paths: for which no token is asked, such as probes.
          ready: set once the other paths can be answered; until then they are UNAVAILABLE.
        """
        self._app = app
        self._journal = journal
        self._token = token
        self._open_paths = open_paths
        self._ready = ready

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        with self._journal.entry(request_id(headers.get(_ID)), "Other", "REST") as entry:

            async def sending(message: Any) -> None:
                if message["type"] == "http.response.start":
                    head = MutableHeaders(scope=message)
                    head[_ID] = entry.request_id
                    if entry.version is not None:
                        head[MODEL_VERSION_HEADER] = str(entry.version)
                await send(message)

            try:
                if scope["path"] not in self._open_paths:
                    if not self._token.admits(headers.get("authorization")):
                        raise ServingError(Code.UNAUTHENTICATED, "expected a bearer token that is known")
                    if not self._ready.is_set():
                        raise ServingError(Code.UNAVAILABLE, STARTING)
                await self._app(scope, receive, sending)
            except ServingError as error:
                await _failed(entry, error)(scope, receive, sending)
            except asyncio.CancelledError:
                entry.code = Code.CANCELLED
                raise
            except Exception as error:  # Starlette raises it again when it has answered
                tell(f"warning: request {entry.request_id}: {type(error).__name__}: {in_short(error)}")


def _failed(entry: Entry, error: ServingError) -> Response:
    """An error's answer."""
    entry.code = error.code
    headers = {"WWW-Authenticate": "Bearer"} if error.code == Code.UNAUTHENTICATED else None
    return JSONResponse({"error": str(error)}, error.http, headers)


async def on_error(request: Request, error: Exception) -> Response:
    """What a route raises, as an answer: our errors, Starlette's own refusals, and what should not happen."""
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code, Code.INVALID_ARGUMENT)
        error = ServingError(code, f"{error.detail}: {request.method} {request.url.path}", error.status_code)
    elif not isinstance(error, ServingError):
        error = ServingError(Code.INTERNAL, "the server failed; its log says more")
    return _failed(entry(), error)


async def body_of(request: Request, limits: Limits) -> bytes:
    """A request's whole body, unpacked.

    Raises:
      ServingError: it is larger than allowed (413), comes too slowly (408), or is packed in another way (415).
    """
    too_large = ServingError(Code.RESOURCE_EXHAUSTED, f"expected a body of at most {limits.body_bytes} bytes", 413)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise too_large
    except TimeoutError as error:
        reason = f"expected the body within {limits.body_seconds:g} s"
        raise ServingError(Code.DEADLINE_EXCEEDED, reason, 408) from error
    except ClientDisconnect as error:
        raise ServingError(Code.CANCELLED, _HUNG_UP) from error
    packing = request.headers.get("content-encoding", "identity").strip().lower()
    return bytes(body) if packing == "identity" else _inflated(bytes(body), packing, limits.body_bytes, too_large)


@contextlib.asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """The time that a client waits for its answer; its body has been read.

    Raises:
      ServingError: CANCELLED, where it hangs up before the end.
    """
    answering = asyncio.current_task()
    assert answering is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        answering.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError as error:
        if gone and not answering.uncancel():
            raise ServingError(Code.CANCELLED, _HUNG_UP) from error
        raise
    finally:
        watching.cancel()


async def aside(size: int, function: Callable[..., _Result], *arguments: Any) -> _Result:
    """A function's result; a thread computes it where it would keep other requests waiting.

    Args:
      size: of what it goes through, in bytes.
      function: to call.
      *arguments: of it.
    """
    return function(*arguments) if size < _IN_THREAD else await asyncio.to_thread(function, *arguments)


def _inflated(body: bytes, packing: str, most: int, too_large: ServingError) -> bytes:
    if packing not in _INFLATED_BY:
        reason = f"expected Content-Encoding gzip or deflate. Received: {packing}"
        raise ServingError(Code.INVALID_ARGUMENT, reason, 415)
    unpacker = zlib.decompressobj(_INFLATED_BY[packing])
    try:
        inflated = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise ServingError(Code.INVALID_ARGUMENT, f"expected a body in {packing}. Received: {error}") from error
    if len(inflated) > most:
        raise too_large
    if not unpacker.eof:
        raise ServingError(Code.INVALID_ARGUMENT, f"expected a whole body in {packing}. Received: a part")
    return inflated


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's, which would wait without end for the rest of a request, and take a head of any size; this hangs up."""

    limits = Limits()
    _alarm: asyncio.TimerHandle | None = None
    _head_bytes: int | None = None  # that came of a head which hasn't ended; None: none has begun

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for a first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Begins to wait for the rest of a further request."""
        if self._alarm is None:
            self._wait()
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.head_bytes and not self.transport.is_closing():
                self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        """A head begins."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is there; what is raised ends the parsing, and is answered by 400."""
        if len(self.headers) == self.limits.headers:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there; it may have come in one chunk."""
        self._head_bytes = None
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.limits.head_bytes:
            raise ValueError("too large a head")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is there."""
        self._stop()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client hung up."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._alarm = self.loop.call_later(self.limits.body_seconds + _GRACE, self.transport.abort)

    def _stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


class _Server(uvicorn.Server):
    """uvicorn's, without its own handling of signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves them to `launch`."""
        yield


class HttpServer:
    """An ASGI application on a socket."""

    def __init__(self, app: Any, limits: Limits, certificate: tuple[str, str] | None = None) -> None:
        """Makes it.

        Args:
          app: ASGI.
          limits: of connections and time.
          certificate: files of the certificate's chain and its key, for TLS.
        """
        protocol = type("Protocol", (PatientProtocol,), {"limits": limits})
        self._server = _Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=limits.connections,
                ssl_certfile=certificate[0] if certificate else None,
                ssl_keyfile=certificate[1] if certificate else None,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self, bound: socket.socket) -> None:
        """Serves on a bound socket, from now on."""
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise OSError("expected the HTTP server to start. Received: its end")
            await asyncio.sleep(0.01)

    async def stop(self, seconds: float) -> None:
        """Takes no more connections, and waits for the answers of those that are open.

        Args:
          seconds: that they have.
        """
        self._server.config.timeout_graceful_shutdown = max(1, round(seconds))
        self._server.should_exit = True
        if self._task is not None:
            await self._task
