"""Kubeflow Pipelines' own programs, of version 2.0.5, where `make kfp-tools` has built them."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers import ROOT
from tests.kubeflow import RefusedError

_FOLDER = ROOT / "build" / "kfp-tools"


def program(name: str) -> Path:
    """The path of `compiler`, `driver` or `launcher-v2`; the test is left out where it isn't built."""
    path = _FOLDER / name
    if not path.exists():
        pytest.skip("Kubeflow Pipelines' own programs: `make kfp-tools` builds them, by Go")
    return path


def compiled(document: dict[str, Any]) -> dict[str, Any]:
    """The Argo workflow that the backend makes of a pipeline spec.

    Raises:
      RefusedError: what its compiler answers an error to.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(document, file)
        file.flush()
        done = subprocess.run([program("compiler"), "--spec", file.name], capture_output=True, text=True)
    if done.returncode:
        raise RefusedError(done.stderr)
    return yaml.safe_load(done.stdout)
