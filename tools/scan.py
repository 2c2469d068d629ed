"""Checks that this host can load every shared object of an environment, before anything is imported from it.

A wheel is installed here by its tag alone, and two of the tags ask for a newer host than many have. What a shared
object really needs stands in it; the loader would say so one import at a time, some of them hours into a run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tools.elf import Needs, read_needs
from tools.host import newest
from tools.relabel import lacking

# The versions of the C and C++ run times, which come from the host. Other libraries come along inside the wheels.
HOST_PREFIXES = ("GLIBC_", "GLIBCXX_", "CXXABI_", "GCC_")
# They come with a GPU's driver: an environment for GPUs can be made where there is none, such as in an image.
OF_DRIVERS = ("libcuda.so.1", "libOpenCL.so.1")


class HostTooOldError(RuntimeError):
    """Some shared object needs a library, or a version of one, that this host does not have."""


def shared_objects(environment: Path) -> Iterator[Path]:
    """Yields the files and links of a virtual environment that may be shared objects or programs, unopened."""
    for folder, _, names in os.walk(environment):
        programs = os.path.basename(folder) == "bin"
        for name in names:
            if ".so" in name or programs:
                yield Path(folder, name)


def host_needs(paths: Iterable[Path]) -> dict[Path, Needs]:
    """Returns what each shared object needs of the host; objects that need nothing are left out.

    A library that comes along in the environment under the same name is not the host's. Links count as names only:
    what they point to is either in the environment itself, or an interpreter that runs already.

    Raises:
        OSError: a file cannot be read.
    """
    found, names = {}, set()
    for path in paths:
        if path.exists():
            names.add(path.name)
        needs = None if path.is_symlink() else read_needs(path)
        if needs is not None:
            found[path] = needs
    of_host = {
        path: Needs(
            [need for need in needs.versions if need.version.startswith(HOST_PREFIXES) and need.library not in names],
            [library for library in needs.libraries if library not in names and library not in OF_DRIVERS],
        )
        for path, needs in found.items()
    }
    return {path: needs for path, needs in of_host.items() if needs.libraries}


def libraries(needs: Mapping[Path, Needs]) -> set[str]:
    """Returns the names of all libraries that the host has to have."""
    return {library for found in needs.values() for library in found.libraries}


def check(environment: Path, needs: Mapping[Path, Needs], provided: Mapping[str, frozenset[str]]) -> None:
    """Stops if any shared object needs what the host lacks.

    Args:
        environment: the environment's folder; paths in the message are relative to it.
        needs: of each object, as `host_needs` returns them.
        provided: versions that the host's libraries define, by library.

    Raises:
        HostTooOldError: names each such file with the version or library, and the way out.
    """
    lines = []
    for path, found in sorted(needs.items()):
        wanted = [library for library in found.libraries if library not in provided]
        wanted += [f"{need.version} of {need.library}" for need in lacking(found.versions, provided)]
        lines += [f"  {path.relative_to(environment)} needs {one}" for one in wanted]
    if lines:
        raise HostTooOldError(
            "expected this host to have every library, and every version of the C and C++ run times, that the "
            "environment needs. Install the operating system's package of a library that is missing altogether; for "
            "a version, use a host with glibc 2.38 and GCC 13 or newer (Debian 13, Ubuntu 24.04), or the container "
            "image (`docker build -t arcface-tfx .`). This host lacks:\n" + "\n".join([*lines, received(provided)])
        )


def received(provided: Mapping[str, frozenset[str]]) -> str:
    """Describes the host's run times in one line, for messages."""
    libc, libstdcxx = provided.get("libc.so.6", frozenset()), provided.get("libstdc++.so.6", frozenset())
    return (
        f"Received: libc.so.6 up to {newest(libc, 'GLIBC_')}, "
        f"libstdc++.so.6 up to {newest(libstdcxx, 'GLIBCXX_')} and {newest(libstdcxx, 'CXXABI_')}"
    )
