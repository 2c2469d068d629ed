"""A server in this process, in a thread with an event loop of its own, as `arcface-tfx serve` runs it."""

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving.server.batching import BatchingParameters
from serving.server.launch import Options, Server, bind


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
    return port


class Running:
    """A server that answers; `grpc` and `rest` are its addresses."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server, self._loop = server, loop
        self.grpc, self.rest = (f"127.0.0.1:{port}" for port in server.ports)

    def call(self, coroutine: Any) -> Any:
        """Runs a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def look(self) -> None:
        """Has the server look at its folder."""
        self.call(self.server.core.manager.look())


@contextlib.contextmanager
def running(path: Path | str, **options: Any) -> Iterator[Running]:
    """Serves a folder until the body ends, and then as SIGTERM ends it; on free ports unless told others."""
    options = {
        **{
            "batching": BatchingParameters(8, 1000, allowed_batch_sizes=(1, 8)),
            "drain_seconds": 10.0,
            "poll_seconds": 3600.0,
        },
        **{"port": 0, "rest_port": 0},
        **options,
    }
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    bound = bind("127.0.0.1", options["rest_port"])

    async def start() -> Server:
        server = Server(Options(str(path), "m", **options), bound)
        await server.start()
        return server

    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result(120)
        try:
            yield Running(server, loop)
        finally:
            with contextlib.suppress(concurrent.futures.CancelledError):
                asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
