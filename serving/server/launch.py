"""Starts the servers around a core, keeps them until they are to end, and lets every request have its answer."""

import asyncio
import contextlib
import dataclasses
import gc
import os
import pathlib
import signal
import socket
import ssl
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from arcface_common import filesystem
from arcface_common.errors import DataError, cut
from serving.inference.engines import TENSORFLOW
from serving.server.batching import BatchingParameters
from serving.server.core import Core
from serving.server.errors import ServingError
from serving.server.folder import versions
from serving.server.http_server import Guard, HttpServer, on_error
from serving.server.journal import Journal
from serving.server.limits import Limits, Token
from serving.server.manager import Policy
from serving.server.words import tell

_GRACE = 2.0  # seconds for the answers to those that were not computed in time


@dataclasses.dataclass(frozen=True)
class Options:
    """All that `arcface-tfx serve` can be told.

    Attributes:
      path: folder of versions, or a SavedModel.
      name: of the model, that clients ask by.
      host: to bind; loopback by default.
      port: of gRPC; 0 takes a free one.
      rest_port: of HTTP.
      batching: how requests are batched.
      policy: which versions are served.
      limits: of requests.
      token: that they must carry.
      certificate: files of the certificate's chain and its key, for TLS.
      poll_seconds: between two looks at the folder.
      drain_seconds: that requests have for their answers after SIGTERM.
      log_requests: whether each request has its line.
      engine: what computes the network, see `serving.server.core.load_servable`.
    """

    path: str
    name: str
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int = 8501
    batching: BatchingParameters = BatchingParameters()
    policy: Policy = Policy()
    limits: Limits = Limits()
    token: Token = Token()
    certificate: tuple[str, str] | None = None
    poll_seconds: float = 1.0
    drain_seconds: float = 30.0
    log_requests: bool = False
    engine: str = TENSORFLOW


def bind(host: str, port: int) -> socket.socket:
    """A socket for HTTP, before anything slow.

    Raises:
      DataError: the address is not ours, or taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise DataError(f"{host}:{port}: expected an address that is free. Received: {error.strerror}") from error


def serve(options: Options) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Raises:
      DataError: an address is taken, a certificate is none, a version isn't there, or none can be loaded.
    """
    there = versions(options.path)
    if not there:
        received = cut(", ".join(sorted(filesystem.folders_in(options.path))))
        raise DataError(f"{options.path}: expected a version's folder, of a number below 2^63. Received: {received}")
    options.policy.check(options.path, there)
    if options.port and options.port == options.rest_port:
        raise DataError(f"--port and --rest-port: expected two ports. Received: {options.port} for both")
    if options.certificate is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*options.certificate, password=_no_passphrase)
        except OSError as error:
            names = " and ".join(options.certificate)
            raise DataError(f"{names}: expected a certificate chain and its key in PEM. Received: {error}") from error
    bind(options.host, options.port).close()  # gRPC binds it later; a taken one is said now, before TensorFlow's 6 s
    code = asyncio.run(_serve(options, bind(options.host, options.rest_port)))
    if code is not None:
        os._exit(code)


def _no_passphrase() -> str:
    raise DataError("--tls-key: expected a key without a passphrase. Received: an encrypted one")


async def _serve(options: Options, bound: socket.socket) -> int | None:
    """None, or the exit code where threads still compute or load, which would be waited for."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    server = Server(options, bound)
    starting = asyncio.create_task(server.start())
    ending = asyncio.create_task(ended.wait())
    await asyncio.wait([starting, ending], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():  # no request was taken yet; threads that import and load would be waited for, 11 s
        tell("ended before a version took traffic")
        os._exit(0)
    try:
        starting.result()
        await ending
    finally:
        ending.cancel()
        code = await server.stop()
    return code


class Server:
    """A core with its two servers. HTTP answers at once, what it can; gRPC when TensorFlow has been imported.

    Attributes:
      core: what answers.
      ports: of gRPC and of HTTP, once it is started.
    """

    def __init__(self, options: Options, bound: socket.socket) -> None:
        """Makes it.

        Args:
          options: see there.
          bound: the socket of HTTP.
        """
        rows = options.limits.rows
        self.core = Core(options.name, options.path, options.batching, options.policy, options.engine, rows)
        self.ports = (options.port, bound.getsockname()[1])
        self._options = options
        self._bound = bound
        self._ready = asyncio.Event()
        self._journal = Journal(self.core, options.log_requests)
        self._grpc: Any = None
        self._following: asyncio.Task[None] | None = None
        self._http = HttpServer(self._application(), options.limits, options.certificate)

    async def start(self) -> None:
        """Serves.

        Raises:
          DataError: no version can be loaded, or the address of gRPC is taken.
        """
        await self._http.start(self._bound)
        await asyncio.to_thread(_import_tensorflow)
        await self._start_grpc()
        gc.freeze()  # what was imported stays: a collection when a version goes needn't look at it
        await self.core.manager.look()
        if not self.core.manager.available():
            reasons = [str(version.error) for version in self.core.manager.versions.values() if version.error]
            received = "; ".join(reasons) or "none"
            raise DataError(f"{self._options.path}: expected a version that can be loaded. Received: {received}")
        self._ready.set()
        self._following = asyncio.create_task(self.core.manager.follow(self._options.poll_seconds))
        await self._grpc.tell(ready=True)
        scheme = "https" if self._options.certificate else "http"
        tell(
            f"serving {self.core.name}: gRPC on {self._options.host}:{self.ports[0]}, "
            f"{scheme}://{self._options.host}:{self.ports[1]}"
        )

    async def stop(self) -> int | None:
        """Takes no more requests, and ends when all have been answered; by UNAVAILABLE when the time is over.

        Returns:
          None where all has ended, else the exit code: 1 where the time did not suffice, 0 where a version is still
          being loaded.
        """
        seconds = self._options.drain_seconds
        tell("ending: no new request is taken")
        self.core.draining = True
        if self._grpc is not None:
            await self._grpc.tell(ready=False)
        if self._journal.open:
            tell(f"draining: {self._journal.open} requests have {seconds:g} s for their answers")
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        self.core.batcher.hurry()
        abandoned: list[int] = []
        deadline = asyncio.get_running_loop().call_later(seconds, lambda: abandoned.append(self.core.batcher.abandon()))
        stopping = [self._http.stop(seconds + _GRACE)]
        if self._grpc is not None:
            stopping.append(self._grpc.server.stop(seconds + _GRACE))
        await asyncio.gather(*stopping)
        deadline.cancel()
        if any(abandoned):
            tell(f"warning: {sum(abandoned)} requests were not computed in {seconds:g} s, and told so")
            return 1
        return None if await self.core.close() else 0

    def _application(self) -> Guard:
        from serving.server.oip_rest import LIVE, READY, OipRest
        from serving.server.page import DESCRIPTION, PAGE, SCRIPT, Page
        from serving.server.tfs_rest import TfsRest

        limits = self._options.limits
        routes = [
            *TfsRest(self.core, limits).routes(),
            *OipRest(self.core, limits).routes(),
            *Page(self.core, self._journal).routes(),
        ]
        app = Starlette(
            routes=routes, exception_handlers={kind: on_error for kind in (ServingError, HTTPException, Exception)}
        )
        probes = frozenset({LIVE, READY, PAGE, SCRIPT, DESCRIPTION})
        return Guard(app, self._journal, self._options.token, probes, self._ready)

    async def _start_grpc(self) -> None:
        import grpc

        from serving.server.grpc_server import GrpcServer
        from serving.server.grpc_server import Guard as GrpcGuard
        from serving.server.oip_grpc import SERVICE, InferenceService
        from serving.server.tfs_grpc import register

        limits, certificate = self._options.limits, self._options.certificate
        self._grpc = GrpcServer(GrpcGuard(self._journal, self._options.token, limits, self._ready), limits)
        self._grpc.offer([*register(self._grpc.server, self.core, limits), SERVICE])
        self._grpc.server.add_generic_rpc_handlers((InferenceService(self.core, limits).handler(),))
        credentials = None
        if certificate is not None:
            chain, key = (pathlib.Path(path).read_bytes() for path in certificate)
            credentials = grpc.ssl_server_credentials([(key, chain)])
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        try:
            port = await self._grpc.start(f"{host}:{self._options.port}", credentials)
        except OSError as error:
            raise DataError(str(error)) from error
        self.ports = (port, self.ports[1])


def _import_tensorflow() -> None:
    """In a thread: meanwhile probes are answered, and nothing else, which would import parts of it at the same time."""
    import serving.server.servable
    import serving.server.tfs_grpc
    import serving.server.warmup  # noqa: F401
