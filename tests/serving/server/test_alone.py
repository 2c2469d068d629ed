"""A server with nothing but what the image's target `serve` installs, asked from its first moment on."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.locks import pins
from tests.serving.server.running import free_port


def _absent_from(lock):
    """Top-level modules of what is installed here and isn't in a lock."""
    pinned = {name.removesuffix("-cpu") for name, _ in pins(lock)} | {"arcface-tfx"}
    owners = importlib.metadata.packages_distributions()
    return [m for m, names in owners.items() if not {n.lower().replace("_", "-") for n in names} & pinned]


@pytest.mark.slow
def test_it_needs_nothing_else_and_says_that_it_starts(folder):
    absent = _absent_from("serve.lock")
    assert {"tfx", "apache_beam", "scipy", "tf_keras", "sklearn"} <= set(absent)
    call = [sys.executable, Path(__file__).with_name("alone.py"), str(folder), str(free_port()), *absent]
    # By which TensorFlow would import tf_keras.
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["200", "503"]  # it was asked while TensorFlow was imported
