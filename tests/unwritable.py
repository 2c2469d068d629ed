"""What a process may not change, by what the file system has against root, or else against anybody."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def unwritable(*paths: Path) -> Iterator[None]:
    """Keeps folders from getting and losing entries, and files from being written to, for a while."""
    held: list[tuple[Path, int]] = []
    try:
        for path in paths:
            mode = path.stat().st_mode
            if os.geteuid():
                path.chmod(mode & ~0o222)
            elif subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode:
                pytest.skip("no file can be kept from root here: chattr +i fails")
            held.append((path, mode))
        yield
    finally:
        for path, mode in held:
            path.chmod(mode) if os.geteuid() else subprocess.run(["chattr", "-i", path], check=True)
