"""Where a run happens and with what: versions, processor, memory, GPUs. Standard library only."""

import importlib.metadata
import os
import platform
import socket
from pathlib import Path
from typing import Any

from arcface_common.gpus import find_gpus

_PACKAGES = ("arcface-tfx", "tensorflow", "tfx", "apache-beam", "numpy")
_STARTED = 19  # field 22 of /proc/PID/stat, counted behind the name in brackets, which is the second


def versions() -> dict[str, str]:
    """Package -> version, of Python and of what decides a result; a package that isn't installed is left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # our own, in a checkout on PYTHONPATH
            continue
    return found


def hardware(proc: Path = Path("/proc")) -> dict[str, Any]:
    """`processor`, `cores` that this process may use, `memory_gb` (1e9 bytes) of the machine, `gpus` by name."""
    fields = (line.partition(":") for line in (proc / "cpuinfo").read_text().splitlines())
    models = [value.strip() for name, _, value in fields if name.strip() == "model name"]
    memory = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())["MemTotal"]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory.split()[0]) * 1024 / 1e9, 1),
        "gpus": list(find_gpus().names),
    }


def in_words(found: dict[str, Any]) -> str:
    """Hardware in one line."""
    gpu = ", ".join(found["gpus"]) or "no GPU"
    return f"{found['processor']}, {found['cores']} cores, {found['memory_gb']} GB of memory, {gpu}"


def this_process() -> dict[str, Any]:
    """What tells this process from all others: `host`, `pid`, and the kernel's time of its start."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def is_alive(process: dict[str, Any]) -> bool:
    """Whether a process of this host still runs.

    Args:
      process: of `this_process`. Of another host's nothing is known: False.
    """
    return process["host"] == socket.gethostname() and _started(process["pid"]) == process["started"]


def _started(pid: int) -> int | None:
    """Clock ticks since the machine's start at which a process began; None where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[_STARTED])
