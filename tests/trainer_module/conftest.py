"""Workers that have their imports already."""

import subprocess
import types

import pytest

from tests.processes import Worker
from trainer_module.workers import supervisor


@pytest.fixture(scope="module")
def forks():
    """The supervisor starts its workers as forks, see `tests.processes`; yields those that it has started."""
    started = []

    def start(*command, **options):
        started.append(Worker(*command, **options))
        return started[-1]

    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "PIPE", "STDOUT")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "subprocess", types.SimpleNamespace(Popen=start, **names))
        yield started
