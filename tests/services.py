"""Services that a test starts on loopback, each a process group of its own that ends with the test."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

START_SECONDS = 60


def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Says that somebody listens, or raises an OSError."""
    socket.create_connection((host, port), timeout=1).close()
    return True


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a command, both its streams appended to a log, and kills it with all that it started."""
    with open(log, "ab") as output:
        service = subprocess.Popen(
            command, env={**os.environ, **(env or {})}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield service
    finally:
        kill(service)


def kill(service: "subprocess.Popen[bytes]") -> None:
    """Kills a service's process group, as the loss of its machine would; no more if it's gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(service.pid, signal.SIGKILL)
    service.wait(timeout=30)


def wait_until(ready: Callable[[], bool], service: "subprocess.Popen[bytes]", log: Path) -> None:
    """Waits until a service is ready, an OSError being a no; fails the test if it ends or takes too long."""
    until = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if ready():
                return
        if service.poll() is not None or time.monotonic() > until:
            pytest.fail(f"expected {service.args} to be ready in {START_SECONDS} s. Received: {log.read_text()}")
        time.sleep(0.2)


@contextlib.contextmanager
def beam_service(module: str, port_option: str, log: Path) -> Iterator[int]:
    """Runs one of Beam's Python services; yields its port."""
    port = free_port()
    # A pool starts its workers as `python`, wherever PATH finds it.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with running([sys.executable, "-m", module, f"{port_option}={port}"], log, {"PATH": path}) as service:
        wait_until(lambda: answers(port), service, log)
        yield port
