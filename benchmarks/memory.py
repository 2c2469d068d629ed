"""This process's own resident memory, in bytes, as Linux tells it. Standard library only.

`resource.getrusage` would not do: after fork and exec its `ru_maxrss` is still at least the parent's memory, so that a
small process started by a large one looks large.
"""

import re


def resident() -> int:
    """What is in memory now."""
    return _status("VmRSS")


def peak() -> int:
    """The most that was in memory at once since this program started."""
    return _status("VmHWM")


def _status(field: str) -> int:
    with open("/proc/self/status") as f:
        found = re.search(rf"^{field}:\s+(\d+) kB$", f.read(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/self/status: expected {field}. Received: none")
    return int(found[1]) * 1024
