"""Pods as processes, and what the controllers of TrainJobs and TFJobs do with them; see `tests.cluster`."""

import contextlib
import datetime
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.processes import ROOT, Started

NAMESPACE = "kubeflow-user"
_MESSAGE = 2048  # bytes of the log that FallbackToLogsOnError keeps


class Pod:
    """One process.

    Attributes:
      index: among those of the job.
      labels: of the pod.
      code: its exit code; None while it runs.
      log: what it said, once it has ended.
    """

    def __init__(self, name: str, index: int, container: dict[str, Any], labels: dict[str, str], told: dict[str, str]):
        self.name, self.index, self.labels = name, index, labels
        self.code: int | None = None
        self.log = ""
        self._message, self._container = "", container
        environment = {key: value for key, value in os.environ.items() if key not in ("TF_CONFIG", "KUBECONFIG")}
        environment |= told
        for variable in container.get("env", []):
            environment[variable["name"]] = _value(variable, labels, environment)
        words = [*container["command"], *container["args"]]
        assert words[0] == "python"
        environment["PATH"] = f"{os.path.dirname(sys.executable)}:{environment['PATH']}"
        self._process = Started(words[1:], cwd=ROOT, env=environment)
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit code, as Kubernetes counts signals."""
        if self.code is None and not self._process.is_alive():
            done = self._process.wait()
            self.code = done.returncode if done.returncode >= 0 else 128 - done.returncode
            self.log = done.stdout + done.stderr
            if self.code and self._container["terminationMessagePolicy"] == "FallbackToLogsOnError":
                self._message = self.log[-_MESSAGE:]
            self._process.close()
        return self.code

    def end(self, grace_s: float = 30.0) -> None:
        """SIGTERM, and SIGKILL after the grace period."""
        deadline = time.monotonic() + grace_s
        while self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL if time.monotonic() > deadline else signal.SIGTERM)
            while self.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)

    def manifest(self) -> dict[str, Any]:
        """As the API server shows it."""
        state: dict[str, Any] = {"running": {}}
        if self.code is not None:
            state = {"terminated": {"exitCode": self.code, "message": self._message, "reason": "Error"}}
        container = {"name": self._container["name"], "ready": False, "restartCount": 0, "image": "i", "imageID": "i"}
        return {
            "metadata": {"name": self.name, "namespace": NAMESPACE, "labels": self.labels},
            "status": {"containerStatuses": [{**container, "state": state}]},
        }


class ClusterJob(threading.Thread):
    """A TrainJob or TFJob, and its controller.

    Attributes:
      pods: those that are there now.
      lost: those that were replaced.
      restarts: how often all, or one of a TFJob, began again.
    """

    def __init__(self, job: dict[str, Any], runtime: dict[str, Any] | None, told: dict[str, str], folder: Path) -> None:
        super().__init__(daemon=True)
        self._job, self._runtime, self._told = job, runtime, told
        self._job_name = job["metadata"]["name"]
        self._removed = threading.Event()
        self.pods: list[Pod] = []
        self.lost: list[Pod] = []
        self.restarts = 0
        self.start()

    def remove(self) -> None:
        """Begins to remove it."""
        self._removed.set()

    def is_gone(self) -> bool:
        """Whether it was removed, with its pods."""
        return self._removed.is_set() and not self.is_alive()

    def run(self) -> None:
        """Until it has ended, and is removed."""
        try:
            self._reconcile_train_job() if self._runtime else self._reconcile_tf_job()
            self._removed.wait()
        finally:
            for pod in self.pods:
                os.kill(pod.pid, signal.SIGTERM) if pod.poll() is None else None
            for pod in self.pods:
                pod.end()

    def _reconcile_train_job(self) -> None:
        """JobSet's: a Job that fails has all begin again, unless a rule or the number of restarts says no."""
        spec = self._runtime["spec"]["template"]["spec"]
        (replicated,) = spec["replicatedJobs"]
        assert replicated["template"]["metadata"]["labels"] == {
            "trainer.kubeflow.org/trainjob-ancestor-step": "trainer"
        }, "else the controller doesn't put the TrainJob's trainer into it"
        job = replicated["template"]["spec"]
        assert job["backoffLimit"] == 0
        (on_exit,) = job["podFailurePolicy"]["rules"]
        policy = spec["failurePolicy"]
        while not self._removed.is_set():
            self._start_train_job(job, replicated["name"])
            codes = self._wait()
            if self._removed.is_set():
                return
            if not any(codes):
                return self._end("Complete", "AllJobsCompleted", "jobset completed successfully")
            hopeless = any(code in on_exit["onExitCodes"]["values"] for code in codes if code)
            reason = "PodFailurePolicy" if hopeless else "BackoffLimitExceeded"
            for pod in [pod for pod in self.pods if pod.poll() is None]:
                pod.end()  # by the Job's controller
            fails = [rule for rule in policy["rules"] if reason in rule["onJobFailureReasons"]]
            if fails:
                assert fails[0]["action"] == "FailJobSet"
                return self._end("Failed", "FailJobSetFailurePolicyAction", "jobset failed due to FailJobSet action")
            if self.restarts == policy["maxRestarts"]:
                message = "jobset failed due to reaching max number of restarts"
                return self._end("Failed", "ReachedMaxRestarts", message)
            self.restarts += 1
            self.lost += self.pods
        return None

    def _start_train_job(self, job: dict[str, Any], replicated: str) -> None:
        trainer = self._job["spec"]["trainer"]
        (container,) = job["template"]["spec"]["containers"]
        assert container["name"] == "node"
        container = {**container, **{key: trainer[key] for key in ("image", "command", "args")}}
        port = _free_ports(trainer["numNodes"])
        container["env"] = [
            {**one, "value": one["value"].replace(_HOST, f"127.0.0.1:{port // 10}{{index}}")} if "value" in one else one
            for one in container["env"]
        ]
        assert "127.0.0.1" in json.dumps(container["env"]), "the name of a host that JobSet's service doesn't have"
        self.pods = [
            Pod(
                f"{self._job_name}-{replicated}-0-{index}",
                index,
                container,
                {
                    "jobset.sigs.k8s.io/jobset-name": self._job_name,
                    "batch.kubernetes.io/job-completion-index": str(index),
                },
                {**self._told, "JOB_COMPLETION_INDEX": str(index)},
            )
            for index in range(trainer["numNodes"])
        ]

    def _reconcile_tf_job(self) -> None:
        """The training operator's: a pod with an exit code of 128 or more begins again by itself."""
        assert list(self._job["spec"]["tfReplicaSpecs"]) == ["Worker"]
        workers = self._job["spec"]["tfReplicaSpecs"]["Worker"]
        assert workers["restartPolicy"] == "ExitCode"
        (container,) = workers["template"]["spec"]["containers"]
        assert container["name"] == "tensorflow", "else the operator sets no TF_CONFIG"
        port = _free_ports(workers["replicas"])
        addresses = [f"127.0.0.1:{port + index}" for index in range(workers["replicas"])]

        def start(index: int) -> Pod:
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            labels = {
                "training.kubeflow.org/job-name": self._job_name,
                "training.kubeflow.org/replica-index": str(index),
            }
            told = {"TF_CONFIG": json.dumps({**config, "environment": "cloud"})}
            return Pod(f"{self._job_name}-worker-{index}", index, container, labels, told)

        self.pods = [start(index) for index in range(workers["replicas"])]
        while not self._removed.is_set():
            for index, pod in enumerate(self.pods):
                code = pod.poll()
                if code and code < 128:
                    for other in self.pods:
                        other.end()
                    return self._end("Failed", "TFJobFailed", "1 Worker replica(s) failed.")
                if code:
                    self.restarts += 1
                    self.lost.append(pod)
                    self.pods[index] = start(index)
            if all(pod.poll() == 0 for pod in self.pods):
                return self._end("Succeeded", "TFJobSucceeded", "TFJob successfully completed.")
            time.sleep(0.1)
        return None

    def _wait(self) -> list[int | None]:
        """Until one has failed, all have ended, or the job is removed."""
        while not self._removed.is_set():
            codes = [pod.poll() for pod in self.pods]
            if any(codes) or None not in codes:
                break
            time.sleep(0.1)
        return [pod.poll() for pod in self.pods]

    def _end(self, kind: str, reason: str, message: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        condition = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}
        self._job.setdefault("status", {})["conditions"] = [condition]


_HOST = "$(ARCFACE_TFX_TRAINJOB)-node-0-{index}.$(ARCFACE_TFX_TRAINJOB):2222"


def _value(variable: dict[str, Any], labels: dict[str, str], environment: dict[str, str]) -> str:
    """A variable as the kubelet resolves it: by the pod's labels, and by those before it."""
    if "value" in variable:
        return re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], variable["value"])
    found = re.fullmatch(r"metadata\.labels\['(.+)'\]", variable["valueFrom"]["fieldRef"]["fieldPath"])
    return labels[found[1]]


def _free_ports(count: int) -> int:
    """The first of ten ports, of which `count` are free now, so that the last digit is the index."""
    for first in range(23_000 + 10 * (os.getpid() % 500), 32_000, 10):
        with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
            for port in range(first, first + count):
                opened.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no ten free ports")
