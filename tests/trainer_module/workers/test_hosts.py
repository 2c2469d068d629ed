"""Two workers on two hosts: network namespaces with an address, a link and names of hosts of their own."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.trainer_module.workers.trainings import assert_same_weights, two_workers, weights
from trainer_module.training.kept_steps import newest_step
from trainer_module.workers.cluster import LOST
from trainer_module.workers.supervisor import run_workers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forks")]
STEPS = 400
_CUT_S = 30.0  # TensorFlow gives a worker up that is silent for 10 seconds


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Names of two namespaces, each of which knows both by the names that a TrainJob's pods have."""
    if not shutil.which("ip"):
        pytest.skip("network namespaces: expected the program ip")
    names = [f"arcface-{os.getpid()}-{index}" for index in range(2)]
    with contextlib.ExitStack() as made:
        try:
            for name in names:
                _ip("netns", "add", name)
                made.callback(_ip, "netns", "del", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces aren't allowed here: {error.stderr.strip()}")
        links = [f"af{os.getpid()}-{index}" for index in range(2)]  # of at most 15 letters
        _ip("link", "add", links[0], "netns", names[0], "type", "veth", "peer", "name", links[1], "netns", names[1])
        known = "127.0.0.1 localhost\n" + "".join(f"10.77.0.{i + 1} train-node-0-{i}.train\n" for i in range(2))
        for index, (name, link) in enumerate(zip(names, links, strict=True)):
            _ip("-n", name, "addr", "add", f"10.77.0.{index + 1}/24", "dev", link)
            for device in (link, "lo"):
                _ip("-n", name, "link", "set", device, "up")
            folder = Path("/etc/netns") / name  # `ip netns exec` puts its files in the place of those in /etc
            folder.mkdir(parents=True)
            made.callback(shutil.rmtree, folder)
            (folder / "hosts").write_text(known)
        yield list(zip(names, links, strict=True))


@pytest.fixture
def job(tmp_path):
    job = two_workers(tmp_path, STEPS, log_every=20, checkpoint_every=20)
    return dataclasses.replace(job, run_dir=str(tmp_path / "run"), work_dir=str(tmp_path / "work"))


def _start(hosts, path):
    """The pods, each on its host, as a TrainJob starts them."""
    told = {"ARCFACE_TFX_WORKER_ADDRESS": "train-node-0-{index}.train:2222", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "trainer_module.workers.pod", path]
    return [
        subprocess.Popen(
            ["ip", "netns", "exec", name, *command],
            env={**os.environ, **told, "JOB_COMPLETION_INDEX": str(index)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, (name, _) in enumerate(hosts)
    ]


def _cut_and_mend(hosts, work_dir, done):
    deadline = time.monotonic() + 300
    while not newest_step(work_dir) and time.monotonic() < deadline:
        time.sleep(0.005)
    name, link = hosts[1]
    _ip("-n", name, "link", "set", link, "down")
    done.append(newest_step(work_dir))
    time.sleep(_CUT_S)
    _ip("-n", name, "link", "set", link, "up")


def test_two_hosts_whose_link_is_cut_and_mended_end_in_the_same_model(hosts, job, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "job.json").write_text(job.to_json())
    cut = []
    thread = threading.Thread(target=_cut_and_mend, args=(hosts, job.work_dir, cut), daemon=True)
    thread.start()
    pods = _start(hosts, str(tmp_path / "job.json"))
    said = [pod.communicate()[1] for pod in pods]  # each ends by itself
    assert [pod.returncode for pod in pods] == [LOST, LOST], said
    assert 0 < cut[0] < STEPS

    pods = _start(hosts, str(tmp_path / "job.json"))  # as JobSet does, which knows nothing of the link
    whole = dataclasses.replace(job, run_dir=str(tmp_path / "whole"), work_dir="")
    run_workers(whole)
    said = [pod.communicate()[1] for pod in pods]
    thread.join()
    assert [pod.returncode for pod in pods] == [0, 0], said
    assert "training goes on from step " in said[0]
    assert_same_weights(weights(job.run_dir), weights(whole.run_dir), 1e-3)
