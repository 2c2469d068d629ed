"""Finds a Python 3.11 that the product's environment can stand on.

TFX with its Kubeflow extra needs Python < 3.12, and 3.10 is past its end of life, so the machine's own `python3` is
often another version. The search goes from what the user sees to what lies aside: PATH, pyenv's versions, uv's own.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

WANTED = (3, 11)
OVERRIDE = "ARCFACE_TFX_PYTHON"

# Extension modules that a Python built without the matching -dev packages lacks; TFX, Beam and kfp import all of them,
# and a missing one would otherwise show up minutes later.
_PROBE = """
import sys, bz2, ctypes, hashlib, lzma, sqlite3, ssl, zlib
print(sys.implementation.name, sys.version_info[0], sys.version_info[1], sys.maxsize > 2**32)
print(getattr(sys, "_base_executable", "") or sys.executable)
"""
# A pyenv shim that has to rehash takes about 1 s; nothing healthy takes 20.
_PROBE_TIMEOUT_S = 20


class InterpreterNotFoundError(RuntimeError):
    """No usable Python 3.11 was found; the message says what was tried and how to get one."""


def probe(candidate: Path) -> Path | None:
    """Runs a candidate and says which real interpreter it is.

    Args:
        candidate: an executable file, perhaps a shim or the `python` of a virtual environment.

    Returns:
        The interpreter itself (of a virtual environment: the one below it), or None if the candidate does not start,
        is not a 64-bit CPython of the wanted version, or lacks a standard module that the product needs.
    """
    try:
        answer = subprocess.run(
            [str(candidate), "-I", "-c", _PROBE],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
            text=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    kind, _, executable = answer.stdout.partition("\n")
    if kind.split() != ["cpython", str(WANTED[0]), str(WANTED[1]), "True"]:
        return None
    return Path(executable.strip())


def _newest_first(folder: Path) -> tuple[int, ...]:
    return tuple(-int(part) for part in re.findall(r"\d+", folder.name))


def candidates(env: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yields what might be Python 3.11, in the order in which it should be tried.

    Args:
        env: environment variables; PATH and PYENV_ROOT are read.
        home: the user's home folder, below which pyenv lies unless PYENV_ROOT says otherwise.
    """
    folders = [Path(part) for part in env.get("PATH", "").split(os.pathsep) if part]
    for name in (f"python{WANTED[0]}.{WANTED[1]}", "python3", "python"):
        for folder in folders:
            if os.access(folder / name, os.X_OK):
                yield folder / name
    versions = Path(env.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    pattern = f"{WANTED[0]}.{WANTED[1]}.*"
    for version in sorted(versions.glob(pattern), key=_newest_first):
        yield version / "bin" / f"python{WANTED[0]}.{WANTED[1]}"


def find_installed(env: Mapping[str, str], home: Path) -> Path | None:
    """Returns the first usable Python 3.11 of this machine, or None.

    Args:
        env: environment variables. If ARCFACE_TFX_PYTHON is set, it alone is tried.
        home: the user's home folder.

    Raises:
        InterpreterNotFoundError: ARCFACE_TFX_PYTHON is set to something that is not a usable Python 3.11.
    """
    chosen = env.get(OVERRIDE)
    if chosen:
        found = probe(Path(chosen))
        if found is None:
            raise InterpreterNotFoundError(
                f"{OVERRIDE} must name a 64-bit CPython {WANTED[0]}.{WANTED[1]} that has the standard modules bz2, "
                f"ctypes, lzma, sqlite3, ssl and zlib. Received: {OVERRIDE}={chosen}"
            )
        return found
    seen = set()
    for candidate in candidates(env, home):
        real = os.path.realpath(candidate)
        # Every name of a pyenv shim is the same script, and answers by its own name: not the same candidate.
        if (real, candidate.name) in seen:
            continue
        seen.add((real, candidate.name))
        found = probe(candidate)
        if found is not None:
            return found
    return None


def install_with_uv(uv: Path, env: Mapping[str, str]) -> Path:
    """Returns uv's own Python 3.11, which uv downloads if it does not have it yet.

    Args:
        uv: the uv program.
        env: environment variables for it.

    Raises:
        InterpreterNotFoundError: uv has none and cannot download one; says how to get one otherwise.
    """
    version = f"{WANTED[0]}.{WANTED[1]}"
    find = [str(uv), "python", "find", "--managed-python", "--no-project", version]
    had = subprocess.run(find, env=dict(env), capture_output=True, text=True)
    failure = had.stderr
    if had.returncode:
        got = subprocess.run([str(uv), "python", "install", version], env=dict(env), capture_output=True, text=True)
        failure = got.stderr
        had = subprocess.run(find, env=dict(env), capture_output=True, text=True)
    if had.returncode == 0:
        where = had.stdout.strip()
        found = probe(Path(where))
        if found is not None:
            return found
        failure = f"{where} does not run here as CPython {version} with all its standard modules"
    reason = " ".join(failure.split()) or "no answer"
    raise InterpreterNotFoundError(
        f"Python {version} is needed, and was expected on PATH, below pyenv's versions folder, or from uv, which could "
        f"not provide it. Get it by one of: `pyenv install {version}`; the operating system's package (on Debian 12 "
        f"`apt-get install python{version}`); `conda create -n py311 python={version}`; or set {OVERRIDE} to the path "
        f"of one. Without it, use the container image (`docker build -t arcface-tfx .`). Received: {reason}"
    )
