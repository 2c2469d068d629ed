"""One server of an exported network, and one of a small model, for all tests of this folder."""

import shutil

import pytest

from tests.serving.server.models import write_times
from tests.serving.server.running import running


@pytest.fixture(scope="session")
def served(model_dir):
    """A server of the exported network."""
    with running(model_dir) as server:
        yield server


@pytest.fixture(scope="session")
def times(tmp_path_factory):
    """A server of `Times` by 3, version 7, labelled "stable"."""
    from serving.server.limits import Limits
    from serving.server.manager import Policy

    folder = tmp_path_factory.mktemp("times")
    write_times(folder, 3.0, 7)
    limits = Limits(body_bytes=1 << 20, body_seconds=1.0)
    with running(folder, policy=Policy(labels={"stable": 7}), limits=limits) as server:
        yield server


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """The folder of a version of `Times` by 3."""
    return write_times(tmp_path_factory.mktemp("times"), 3.0)


@pytest.fixture
def folder(written, tmp_path):
    """A folder of versions of its own, with that as version 1."""
    shutil.copytree(written, tmp_path / "m" / "1")
    return tmp_path / "m"
