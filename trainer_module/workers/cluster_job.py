"""Training by pods of their own: a TrainJob of Kubeflow Trainer v2, or its predecessor's TFJob, submitted and followed.

Both lead to the same folder: a job that is begun again, or submitted anew, goes on from the checkpoints there.
"""

import dataclasses
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arcface_common.aside import file_aside
from arcface_common.console import say
from arcface_common.errors import DataError
from arcface_common.processes import sigterm_unwinds
from trainer_module.workers.cluster import BAD_INPUT, JOB_FILE
from trainer_module.workers.job import TrainingJob
from trainer_module.workers.supervisor import WorkerError

_POLL_S = 2.0
_SECONDS_BETWEEN_LINES = 30.0
_PATIENCE_S = 600.0  # with an API server that doesn't answer: the pods train meanwhile
_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


@dataclasses.dataclass(frozen=True)
class _Kind:
    """What the two differ in.

    Attributes:
      plural: as the API's path names them.
      done: the condition of one that ended well; the other end is "Failed" of both.
      owner: the label by which a pod names its job.
      index: the label by which a pod names its index.
      counts: where the status counts pods.
    """

    plural: str
    done: str
    owner: str
    index: str
    counts: str


_KINDS = {
    "TrainJob": _Kind(
        "trainjobs",
        "Complete",
        "jobset.sigs.k8s.io/jobset-name",
        "batch.kubernetes.io/job-completion-index",
        "jobsStatus",
    ),
    "TFJob": _Kind(
        "tfjobs",
        "Succeeded",
        "training.kubeflow.org/job-name",
        "training.kubeflow.org/replica-index",
        "replicaStatuses",
    ),
}


def train_in_pods(job: TrainingJob, manifest: dict[str, Any]) -> None:
    """Trains by pods that share the folder `job.work_dir` with this process, and waits for them.

    Args:
      job: what to train; its splits lie where the pods see them, and `run_dir` is this process's alone.
      manifest: a TrainJob or TFJob, `{job}` in the place of the job's file; its name gets that of `work_dir` added.

    Raises:
      DataError: a worker met bad input.
      WorkerError: the job failed, with the reason of the worker and the controller; or was removed meanwhile.
    """
    run_dir, path = (os.path.join(job.work_dir, name) for name in ("run", "job.json"))
    os.makedirs(run_dir, exist_ok=True)  # where each worker writes, none waits for another to make it
    with file_aside(Path(path)) as aside:
        aside.write_text(dataclasses.replace(job, run_dir=run_dir).to_json())
    pods = _ClusterJob(manifest, path)
    with sigterm_unwinds():
        try:
            pods.submit(leaves=run_dir)
            pods.follow()
        except (KeyboardInterrupt, SystemExit):
            say(f"  {pods}: removed, since this step was stopped; the next one goes on from the last checkpoint")
            pods.remove()
            raise
    shutil.copytree(run_dir, job.run_dir, dirs_exist_ok=True)
    pods.remove()


class _ClusterJob:
    """A TrainJob or TFJob in the cluster; `str` of it says which."""

    def __init__(self, manifest: dict[str, Any], path: str) -> None:
        """Reads where the API server is: from the pod's service account, or from the kubeconfig."""
        from kubernetes import client

        folder = os.path.basename(os.path.dirname(path))
        told = json.loads(json.dumps(manifest).replace(JOB_FILE, json.dumps(path)[1:-1]))
        told["metadata"]["name"] += f"-{folder.rpartition('-')[2]}"
        # Kubernetes removes the job with this step's pod, where a signal leaves no time to do so.
        if (pod := os.environ.get("KFP_POD_NAME")) and (uid := os.environ.get("KFP_POD_UID")):
            told["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}]
        self._manifest, self._kind = told, _KINDS[told["kind"]]
        self._name = told["metadata"]["name"]
        self._namespace = _connect()
        self._jobs, self._pods = client.CustomObjectsApi(), client.CoreV1Api()
        group, _, version = told["apiVersion"].partition("/")
        self._place = {
            "group": group,
            "version": version,
            "namespace": self._namespace,
            "plural": self._kind.plural,
        }

    def __str__(self) -> str:
        return f"{self._manifest['kind']} {self._namespace}/{self._name}"

    def submit(self, leaves: str) -> None:
        """Submits it, unless it is there: then this step was begun again, and follows what the one before submitted.

        Args:
          leaves: the folder where one that ended well leaves its results; while it is empty, it is submitted anew.
        """
        found = self._get()
        end = _end(found, self._kind) if found else None
        if found and (end is None or (end["type"] == self._kind.done and os.listdir(leaves))):
            say(f"  {self}: is there already")
            return
        if found:
            self.remove()
        self._ask(self._jobs.create_namespaced_custom_object, body=self._manifest)
        say(f"  {self}: submitted")

    def follow(self) -> None:
        """Waits for its end, and says how far it is.

        Raises:
          DataError: a worker met bad input.
          WorkerError: it failed, or was removed.
        """
        told, told_at = "", -math.inf
        while True:
            if (found := self._get()) is None:
                raise WorkerError(f"{self}: expected to end by itself. Received: it was removed")
            end, state = _end(found, self._kind), _state(found, self._kind)
            if state != told and (end or time.monotonic() - told_at > _SECONDS_BETWEEN_LINES):
                say(f"  {self}: {state}")
                told, told_at = state, time.monotonic()
            if end:
                if end["type"] == self._kind.done:
                    return
                raise self._failure(end)
            time.sleep(_POLL_S)

    def remove(self) -> None:
        """Removes it with its pods, and waits until it is gone."""
        self._ask(self._jobs.delete_namespaced_custom_object, name=self._name, propagation_policy="Foreground")
        deadline = time.monotonic() + _PATIENCE_S
        while self._get() and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _get(self) -> dict[str, Any] | None:
        """It, as the API server has it; None where it isn't there."""
        found: dict[str, Any] | None = self._ask(self._jobs.get_namespaced_custom_object, name=self._name)
        return found

    def _ask(self, call: Callable[..., Any], **named: Any) -> Any:
        """What the API server answers; None where there is no job. One that doesn't answer is waited for.

        Raises:
          WorkerError: it refuses, or doesn't answer for long.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        since = time.monotonic()
        while True:
            try:
                return call(**self._place, **named)
            except (ApiException, HTTPError) as error:
                status = error.status if isinstance(error, ApiException) else 0
                if status == 404 and "name" in named:
                    return None
                refused = 400 <= status < 500 and status != 429
                if refused or time.monotonic() - since > _PATIENCE_S:
                    reason = " ".join(str(getattr(error, "body", None) or error).split())
                    raise WorkerError(
                        f"{self}: expected the API server to take what this step asks for. "
                        f"Received: {f'{status}, ' if status else ''}{reason}"
                    ) from error
                time.sleep(_POLL_S)

    def _failure(self, condition: dict[str, Any]) -> DataError | WorkerError:
        """Why it failed: what the worker said last whose end no other try would have mended, and the controller."""
        ends = sorted(self._ends())
        told = f"{ends[0][1]}; " if ends else ""
        reason = f"{self}: {told}{condition.get('reason', 'failed')}: {condition.get('message', '')}"
        return DataError(reason) if ends and ends[0][2] == BAD_INPUT else WorkerError(reason)

    def _ends(self) -> list[tuple[bool, str, int]]:
        """Of each pod that failed: whether another try was worth it, its last words and its exit code."""
        from kubernetes.client import ApiException

        try:
            pods = self._pods.list_namespaced_pod(self._namespace, label_selector=f"{self._kind.owner}={self._name}")
        except ApiException as error:  # a service account that may not: the condition tells something
            say(f"  {self}: pods can't be listed: {error.reason}")
            return []
        ends = []
        for pod in pods.items:
            index = pod.metadata.labels.get(self._kind.index, "?")
            for container in pod.status.container_statuses or ():
                if (ended := container.state.terminated) and ended.exit_code:
                    last = next((line for line in reversed((ended.message or "").splitlines()) if line.strip()), "")
                    words = f"worker {index} ended with exit code {ended.exit_code}{f': {last}' if last else ''}"
                    ends.append((ended.exit_code >= 128, words, ended.exit_code))
        return ends


def _connect() -> str:
    """Tells the client where the API server is; returns the namespace."""
    from kubernetes import config

    try:
        config.load_incluster_config()
    except config.ConfigException:
        named = os.environ.get("KUBECONFIG")  # the client reads it when it is imported
        config.load_kube_config(named)
        _, active = config.list_kube_config_contexts(named)
        return active["context"].get("namespace", "default")
    with open(_NAMESPACE_FILE) as f:
        return f.read().strip()


def _end(found: dict[str, Any], kind: _Kind) -> dict[str, Any] | None:
    """The condition that says that it has ended."""
    conditions = found.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] in (kind.done, "Failed") and c["status"] == "True"), None)


def _state(found: dict[str, Any], kind: _Kind) -> str:
    """How far it is: percentage and metrics where the pods tell them, else how many pods are in which state."""
    status = found.get("status", {})
    if told := status.get("trainerStatus"):
        values = [f"{one['name']} {one['value']}" for one in told.get("metrics", ())]
        return ", ".join([f"{told.get('progressPercentage', 0)} %", *values])
    counts = status.get(kind.counts) or []
    counted = counts if isinstance(counts, list) else list(counts.values())
    words = [f"{n} {name}" for one in counted for name, n in one.items() if isinstance(n, int) and n]
    return ", ".join(words) or "no pods yet"
