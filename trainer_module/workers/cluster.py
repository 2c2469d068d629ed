"""The cluster that TF_CONFIG names, and the way past proxies to its tasks. Standard library only.

TensorFlow starts a server for whatever cluster TF_CONFIG names, waits for its tasks without end and takes SIGTERM for
itself: so what stands there is read before TensorFlow does.
"""

import dataclasses
import json
import os
import re
from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Self

from arcface_common.errors import DataError, cut, setting_argument

if TYPE_CHECKING:
    from trainer_module.settings import TrainSettings

TF_CONFIG = "TF_CONFIG"
# What a pod of a TrainJob is told: its index by Kubernetes' Job, where worker "{index}" is by our TrainingRuntime.
POD_INDEX, POD_ADDRESS = "JOB_COMPLETION_INDEX", "ARCFACE_TFX_WORKER_ADDRESS"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ROLES = ("chief", "worker")
_ADDRESS = re.compile(r"\S+:(?!0+$)(?:[0-5]?\d{1,4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])", re.ASCII)
# Exit codes of workers, of sysexits.h: EX_TEMPFAIL of one that others left alone, EX_DATAERR at a DataError. And a
# shell's for SIGTERM, of those that one was asked by to stop: their checkpoint is written.
OTHERS_LOST, BAD_INPUT, STOPPED = 75, 65, 143
# Exit codes of a worker's pod: of a training that another try wouldn't mend, and of one that may end well then. TFJob
# takes all below 128 for the one and keeps 138 for the other; our TrainingRuntime says the same of a TrainJob.
HOPELESS, LOST = (1, 2, BAD_INPUT), 138
JOB_FILE = "{job}"  # stands for the path of the job's file in a manifest of theirs


@dataclasses.dataclass(frozen=True)
class Task:
    """One process of a cluster of workers.

    Attributes:
      cluster: role ("chief" or "worker") -> HOST:PORT of each of its tasks.
      role: this task's.
      index: this task's among its role.
    """

    cluster: dict[str, list[str]]
    role: str
    index: int

    @classmethod
    def on_this_host(cls, addresses: list[str]) -> list[Self]:
        """A cluster of one worker an address."""
        return [cls({"worker": addresses}, "worker", index) for index in range(len(addresses))]

    def is_first(self) -> bool:
        """Whether it is the one that TensorFlow calls the chief."""
        return self.index == 0 and (self.role == "chief" or "chief" not in self.cluster)

    def hosts(self) -> list[str]:
        """Where the tasks run, each host once."""
        addresses = (address for role in self.cluster.values() for address in role)
        return list(dict.fromkeys(address.rpartition(":")[0].strip("[]") for address in addresses))

    def to_json(self) -> str:
        """As TensorFlow reads it from TF_CONFIG."""
        return json.dumps({"cluster": self.cluster, "task": {"type": self.role, "index": self.index}})


def given_task(settings: "TrainSettings") -> Task | None:
    """What the environment's TF_CONFIG has this run do.

    Args:
      settings: `join_cluster` and `workers`.

    Returns:
      The task that the run joins a cluster as; None where it trains by itself. A cluster of one task is none.

    Raises:
      DataError: TF_CONFIG names other tasks and the run isn't told to join them, or it is told to and TF_CONFIG doesn't
        name `workers` tasks of which this is one.
    """
    text = os.environ.get(TF_CONFIG, "")
    config = _parsed(text)
    cluster = config.get("cluster", {})
    tasks = sum(map(len, cluster.values()))
    if not settings.join_cluster:
        if tasks > 1:
            raise DataError(
                f"{TF_CONFIG}: expected no other tasks in the environment of a run that trains by itself; `unset "
                f"{TF_CONFIG}`, or join them with {setting_argument('train.join_cluster=true')}. "
                f"Received: {TF_CONFIG}={text}"
            )
        return None
    return _task(text, config, settings.workers)


def pod_task(workers: int) -> Task:
    """The task of this pod, as TF_CONFIG of a TFJob says, or as a TrainJob tells index and names of hosts.

    Args:
      workers: how many pods train.

    Raises:
      DataError: the environment has neither, or names another number of workers.
    """
    if text := os.environ.get(TF_CONFIG, ""):
        return _task(text, _parsed(text), workers)
    index, address = os.environ.get(POD_INDEX, ""), os.environ.get(POD_ADDRESS, "")
    if "{index}" not in address or "$(" in address or not _ADDRESS.fullmatch(address.replace("{index}", "0")):
        raise DataError(f"{POD_ADDRESS}: expected HOST-{{index}}:PORT in a pod's environment. Received: {address!r}")
    if not re.fullmatch("[0-9]{1,9}", index) or int(index) >= workers:
        raise DataError(
            f"{POD_INDEX}: expected 0..{workers - 1}, as train.workers={workers} says. Received: {cut(repr(index))}"
        )
    return Task({"worker": [address.replace("{index}", str(i)) for i in range(workers)]}, "worker", int(index))


def _task(text: str, config: dict[str, Any], workers: int) -> Task:
    """The task that TF_CONFIG's JSON names.

    Raises:
      DataError: it names none, or other than `workers` tasks.
    """
    cluster = config.get("cluster", {})
    tasks = sum(map(len, cluster.values()))
    if set(cluster) - set(_ROLES):
        raise DataError(f"{TF_CONFIG}: expected tasks of {' and '.join(_ROLES)} alone. Received: {TF_CONFIG}={text}")
    if tasks != workers:
        raise DataError(
            f"{TF_CONFIG}: expected train.workers={workers} tasks to join. "
            f"Received: {tasks or 'none'}{f', {TF_CONFIG}={text}' if text else ', the variable is not set'}"
        )
    task = config.get("task")
    role, index = (task.get("type"), task.get("index")) if isinstance(task, dict) else (None, None)
    if (
        not isinstance(role, str)
        or role not in cluster
        or type(index) is not int
        or not 0 <= index < len(cluster[role])
    ):
        raise DataError(f"{TF_CONFIG}: expected a task of its cluster. Received: {TF_CONFIG}={text}")
    return Task(cluster, role, index)


def _parsed(text: str) -> dict[str, Any]:
    """TF_CONFIG's JSON, with lists of addresses under `cluster`; empty where it is not set."""
    try:
        config = json.loads(text) if text.strip() else {}
        cluster = config.get("cluster", {})
        addresses = [address for tasks in cluster.values() for address in tasks]
        if not all(isinstance(address, str) and _ADDRESS.fullmatch(address) for address in addresses):
            raise TypeError
        if len(set(addresses)) < len(addresses):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        expected = """{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}"""
        raise DataError(
            f"{TF_CONFIG}: expected {expected}, each address once, or no such variable. Received: {text}"
        ) from error
    return config


def past_proxies(environment: MutableMapping[str, str], hosts: Iterable[str] = LOOPBACK) -> None:
    """Has gRPC, and all who read `no_proxy`, talk to some hosts themselves where the environment names a proxy.

    gRPC sends a connection to 127.0.0.1, too, through `http_proxy`, where nobody answers for it.

    Args:
      environment: of this process or a child; changed.
      hosts: names and addresses.
    """
    if not any(name.lower().endswith("_proxy") for name in environment):
        return
    common = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        if name == "no_grpc_proxy" and name not in environment:
            continue  # gRPC reads no_proxy then
        entries = [entry.strip() for entry in environment.get(name, common).split(",") if entry.strip()]
        environment[name] = ",".join(dict.fromkeys([*entries, *hosts]))
