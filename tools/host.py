"""Asks an interpreter which system libraries it gets on this host, and reads what versions they define.

The answer comes from the loader itself: a library search path, a Conda prefix or a cross-built root can put another
libstdc++ in front of the system's, and what counts is the file that a process of this environment really maps.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tools.elf import read_provided

_PROBE = """
import ctypes, json, sys
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        pass
with open("/proc/self/maps") as maps:
    mapped = {line.split(None, 5)[5].strip() for line in maps if line.count("/")}
print(json.dumps(sorted(path for path in mapped if ".so" in path)))
"""


def provided_versions(python: Path, libraries: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """Returns, for each library that `python` can load by name, the symbol versions that it defines.

    Args:
        python: the interpreter of the environment in question.
        libraries: names such as "libc.so.6"; one that cannot be loaded is left out of the answer.

    Raises:
        RuntimeError: the interpreter does not run.
    """
    wanted = sorted(set(libraries))
    done = subprocess.run([str(python), "-I", "-c", _PROBE, *wanted], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"expected the interpreter to load this host's libraries. Received: {python} ended with "
            f"{done.returncode}: {done.stderr.strip()}"
        )
    provided = dict(read_provided(Path(path)) for path in json.loads(done.stdout))
    return {name: provided[name] for name in wanted if name in provided}


def newest(versions: Iterable[str], prefix: str) -> str:
    """Returns the highest of the versions that begin with `prefix`, such as "GLIBC_2.36", or "none"."""
    numbered = []
    for version in versions:
        digits = version[len(prefix) :].split(".")
        if version.startswith(prefix) and all(part.isdigit() for part in digits):
            numbered.append(([int(part) for part in digits], version))
    return max(numbered)[1] if numbered else "none"
