"""Beam's workers that have their imports already."""

from types import SimpleNamespace

import pytest
from apache_beam.runners.portability import local_job_service

from tests.processes import BeamWorker


@pytest.fixture
def beam_forks(monkeypatch):
    """Beam starts its workers of this host as forks, see `tests.processes`; gives those that it has started."""
    started = []

    def start(*command, **options):
        started.append(BeamWorker(*command, **options))
        return started[-1]

    monkeypatch.setattr(local_job_service, "subprocess", SimpleNamespace(Popen=start))
    return started
