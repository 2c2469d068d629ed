"""TF_CONFIG is read before TensorFlow reads it, and workers talk past proxies."""

import json

import pytest

from arcface_common.errors import DataError
from trainer_module.settings import TrainSettings
from trainer_module.workers.cluster import LOOPBACK, Task, given_task, past_proxies, pod_task

ALONE = TrainSettings()
JOINS = TrainSettings(workers=2, join_cluster=True)
TWO = {"worker": ["host-a:2222", "host-b:2222"]}


def _config(cluster=None, role="worker", index=0):
    return json.dumps({"cluster": TWO if cluster is None else cluster, "task": {"type": role, "index": index}})


@pytest.mark.parametrize("text", [None, "", " ", "{}", _config({"chief": ["host-a:2222"]}, "chief")])
def test_a_run_by_itself_minds_no_cluster_of_its_own(monkeypatch, text):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert given_task(ALONE) is None
    assert given_task(TrainSettings(workers=2)) is None


@pytest.mark.parametrize(
    ("settings", "text", "message"),
    [
        (ALONE, _config(), "`unset TF_CONFIG`, or join them with train.join_cluster=true. .*host-a:2222"),
        (TrainSettings(workers=2), _config(), "`unset TF_CONFIG`, or join"),
        (ALONE, "{", r'TF_CONFIG: expected \{"cluster": .*, or no such variable. Received: \{'),
        (ALONE, "[]", "or no such variable. Received"),
        (ALONE, '{"cluster": 3}', "or no such variable. Received"),
        (ALONE, '{"cluster": {"worker": [1, 2]}}', "or no such variable. Received"),
        (ALONE, "[" * 100_000, "or no such variable. Received"),
        (JOINS, _config({"worker": ["a:1", "a:1"]}), "each address once, or no such variable. Received"),
        (JOINS, _config({"worker": ["a", "b:2"]}), "HOST:PORT.* or no such variable. Received"),
        (JOINS, _config({"worker": ["a:1", "b:99999"]}), "HOST:PORT.* or no such variable. Received"),
        (JOINS, _config({"worker": ["a:0", "b:1"]}), "HOST:PORT.* or no such variable. Received"),
        (JOINS, "", "expected train.workers=2 tasks to join. Received: none, the variable is not set"),
        (JOINS, _config({"worker": ["a:1"]}), "expected train.workers=2 tasks to join. Received: 1, TF_CONFIG="),
        (JOINS, _config({"worker": ["a:1"], "ps": ["b:1"]}), "expected tasks of chief and worker alone"),
        (JOINS, _config(index=2), "expected a task of its cluster"),
        (JOINS, _config(index="0"), "expected a task of its cluster"),
        (JOINS, _config(role="chief"), "expected a task of its cluster"),
        (JOINS, json.dumps({"cluster": TWO}), "expected a task of its cluster"),
    ],
)
def test_other_tasks_are_refused_by_name(monkeypatch, settings, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(DataError, match=message):
        given_task(settings)


def test_a_run_that_is_told_to_joins_as_its_task(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", _config(index=1))
    task = given_task(JOINS)
    assert task == Task(TWO, "worker", 1)
    assert json.loads(task.to_json()) == json.loads(_config(index=1))
    assert task.hosts() == ["host-a", "host-b"]
    assert not task.is_first()
    assert Task({"chief": ["[::1]:1"], "worker": ["b:1"]}, "chief", 0).is_first()
    assert not Task({"chief": ["[::1]:1"], "worker": ["b:1"]}, "worker", 0).is_first()
    assert Task({"chief": ["[::1]:1"]}, "chief", 0).hosts() == ["::1"]


def test_this_host_is_reached_past_a_proxy():
    loopback = ",".join(LOOPBACK)
    environment = {"http_proxy": "http://proxy:3128"}
    past_proxies(environment)
    assert environment == {"http_proxy": "http://proxy:3128", "no_proxy": loopback, "NO_PROXY": loopback}
    past_proxies(environment)  # twice is once
    assert environment["no_proxy"] == loopback


def test_what_is_excepted_already_stays_so():
    environment = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".example.org, 127.0.0.1", "no_grpc_proxy": "a"}
    past_proxies(environment, ["127.0.0.1", "host-b"])
    assert environment["no_proxy"] == environment["NO_PROXY"] == ".example.org,127.0.0.1,host-b"
    assert environment["no_grpc_proxy"] == "a,127.0.0.1,host-b"


def test_where_there_is_no_proxy_nothing_is_set():
    environment: dict[str, str] = {"PATH": "/bin"}
    past_proxies(environment)
    assert environment == {"PATH": "/bin"}


def _pod(monkeypatch, index, address="train-node-0-{index}.train:2222"):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
    monkeypatch.setenv("ARCFACE_TFX_WORKER_ADDRESS", address)


def test_a_pod_of_a_train_job_is_told_index_and_hosts(monkeypatch):
    _pod(monkeypatch, "1")
    task = pod_task(2)
    assert task == Task({"worker": ["train-node-0-0.train:2222", "train-node-0-1.train:2222"]}, "worker", 1)
    assert task.hosts() == ["train-node-0-0.train", "train-node-0-1.train"]


def test_a_pod_of_a_tf_job_is_told_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", _config(index=1))
    assert pod_task(2) == Task(TWO, "worker", 1)
    with pytest.raises(DataError, match=r"expected train.workers=3 tasks to join. Received: 2, TF_CONFIG="):
        pod_task(3)


@pytest.mark.parametrize(
    ("index", "address", "message"),
    [
        ("2", "a-{index}:1", r"JOB_COMPLETION_INDEX: expected 0\.\.1, as train.workers=2 says. Received: '2'"),
        ("", "a-{index}:1", r"JOB_COMPLETION_INDEX: expected 0\.\.1, .* Received: ''"),
        ("0", "", r"WORKER_ADDRESS: expected HOST-\{index\}:PORT in a pod's environment. Received: ''"),
        ("0", "a:1", r"WORKER_ADDRESS: expected HOST-\{index\}:PORT"),
        ("0", "a-{index}", r"WORKER_ADDRESS: expected HOST-\{index\}:PORT"),
        ("0", "a-{index}:0", r"WORKER_ADDRESS: expected HOST-\{index\}:PORT"),
        ("0", "a-{index}:99999", r"WORKER_ADDRESS: expected HOST-\{index\}:PORT"),
        ("0", "a-{index}:١", r"WORKER_ADDRESS: expected HOST-\{index\}:PORT"),
        ("0", "$(JOB)-{index}:2", r"WORKER_ADDRESS: expected HOST-\{index\}:PORT"),
        ("١", "a-{index}:1", r"JOB_COMPLETION_INDEX: expected 0\.\.1, .* Received: '١'"),
        ("1" * 5000, "a-{index}:1", r"JOB_COMPLETION_INDEX: expected 0\.\.1, .* Received: '1{50,1000}.{,9}$"),
    ],
)
def test_a_pod_that_is_told_less_is_refused(monkeypatch, index, address, message):
    _pod(monkeypatch, index, address)
    with pytest.raises(DataError, match=message):
        pod_task(2)
