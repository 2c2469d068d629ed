"""Runs on a cluster: submitted and followed by the real client, which talks to a stand-in of the API on loopback."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import threading
import time

import pytest
import yaml

from arcface_common.errors import DataError
from pipeline.runners import kubeflow_client
from pipeline.runners.kubeflow_api import CACHED, Kubeflow
from pipeline.runners.kubeflow_client import Server as Address
from tests.kubeflow_server import serving
from tests.processes import Started, cli

TOKEN = "a-token-of-the-cluster"
LOG = """Traceback (most recent call last):
  File "component.py", line 3, in <module>
arcface_common.errors.DataError: gs://b/d: expected a file. Received: no such file
I1129 10:00:00.1 1 launcher_v2.go:193] publish success.
F1129 10:00:00.2 1 main.go:54] failed to execute component: exit status 1
"""


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # where the client keeps what it knows of clusters
    with serving() as running:
        yield running


@pytest.fixture
def package(tmp_path):
    """A pipeline of three steps."""
    names = ("First", "Second", "Third")
    executor = {"container": {"image": "i", "command": ["c"]}}
    tasks = {
        name: {
            "taskInfo": {"name": name},
            "componentRef": {"name": name},
            "dependentTasks": list(names[:number][-1:]),
        }
        for number, name in enumerate(names)
    }
    document = {
        "pipelineInfo": {"name": "small"},
        "schemaVersion": "2.1.0",
        "root": {"dag": {"tasks": tasks}},
        "components": {name: {"executorLabel": name} for name in names},
        "deploymentSpec": {"executors": dict.fromkeys(names, executor)},
    }
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.fixture
def client(server):
    return Kubeflow(Address(server.host))


def test_a_run_is_followed_to_its_end_and_each_step_is_told_once(server, client, package):
    server.cached = {"Second"}
    run, told = client.submit(package, "small"), []
    outcome = client.follow(run, told.append)
    assert [(step.name, step.state, step.seconds) for step in told] == [
        ("First", "SUCCEEDED", 12.0),
        ("Second", CACHED, 12.0),
        ("Third", "SUCCEEDED", 12.0),
    ]
    assert outcome.steps == tuple(told)
    assert outcome.succeeded
    assert outcome.url == f"{server.host}/#/runs/details/{run}"
    assert re.fullmatch(r"small \d{4}-\d\d-\d\d [\d:]{8}", server.runs[run]["display_name"])


def test_a_failed_step_has_the_reason_that_its_container_logged(server, client, package):
    server.fails = {"Second": LOG}
    told = []
    outcome = client.follow(client.submit(package, "small"), told.append)
    raised = "arcface_common.errors.DataError: gs://b/d: expected a file. Received: no such file"
    assert [(step.name, step.state) for step in told] == [("First", "SUCCEEDED"), ("Second", "FAILED")]
    assert outcome.reason == f"Second: Error (exit code 1): {raised}"
    assert not outcome.succeeded


def test_trouble_that_passes_is_waited_for(server, client, package, capfd):
    run = client.submit(package, "small")
    server.troubles = 2
    assert client.follow(run, lambda step: None).succeeded
    assert capfd.readouterr().err.count("WARNING host=http://127.0.0.1") == 1


def test_what_the_server_does_not_take_is_said_in_its_words(server, client, package, tmp_path):
    with pytest.raises(
        DataError, match="expected Kubeflow Pipelines to take this. Received: 404 run nothing not found"
    ):
        client.follow("nothing", lambda step: None)
    document = yaml.safe_load(pathlib.Path(package).read_text())
    document["deploymentSpec"]["executors"]["First"] = {"resolver": {}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(DataError, match="Received: 400 .*non-container and non-importer executor not implemented"):
        client.submit(str(tmp_path / "other.yaml"), "small")


def test_a_token_is_read_again_for_each_request(server, package, tmp_path):
    server.token = TOKEN
    with pytest.raises(DataError, match="Received: 401 Unauthenticated"):
        Kubeflow(Address(server.host))
    (tmp_path / "token").write_text(TOKEN)
    client = Kubeflow(Address(server.host, token_file=str(tmp_path / "token")))
    run = client.submit(package, "small")
    server.token = f"{TOKEN}-renewed"
    (tmp_path / "token").write_text(server.token)
    assert client.follow(run, lambda step: None).succeeded


def test_where_nothing_answers_and_where_something_else_does(server, package):
    with pytest.raises(DataError, match="host=http://127.0.0.1:9: expected Kubeflow Pipelines' API. Received: "):
        Kubeflow(Address("http://127.0.0.1:9"))
    server.answer = lambda *request: (200, "<html>Log in</html>")
    with pytest.raises(DataError, match="Received: an answer that is no run, as of a page to log in"):
        Kubeflow(Address(server.host)).submit(package, "small")


@pytest.mark.parametrize("answer", [{}, {"run_id": "another"}, {"run_id": "mine", "state": "FINE"}, []])
def test_an_answer_that_is_no_run_of_that_id_is_not_followed(server, client, answer):
    server.answer = lambda *request: (200, json.dumps(answer))
    with pytest.raises(DataError, match="Received: an answer that is no run mine"):
        client.follow("mine", lambda step: None)


def _but(server, path, other):
    """Has the server answer requests for one path otherwise."""
    usual = server.answer

    def answer(method, asked, query, body):
        return other(method) if asked.startswith(path) else usual(method, asked, query, body)

    server.answer = answer


def _hangs(method):
    time.sleep(3)
    return 200, {}


def test_no_request_waits_for_ever(server, client, package, monkeypatch):
    monkeypatch.setattr(kubeflow_client, "TIMEOUT_S", 0.3)
    usual = server.answer
    _but(server, "/apis/v2beta1/experiments", _hangs)
    with pytest.raises(DataError, match="expected Kubeflow Pipelines' API. Received: no answer within 60 s$"):
        client.submit(package, "small")
    server.answer = usual
    _but(server, "/apis/v2beta1/healthz", _hangs)
    with pytest.raises(DataError, match="Received: no answer within 60 s$"):
        Kubeflow(Address(server.host))


def _closes(method):
    raise ConnectionAbortedError


@pytest.mark.parametrize(
    "other", [_hangs, _closes, lambda method: (504, {"message": "m"}), lambda method: (200, '{"run_id": "5')]
)
def test_a_run_that_may_have_begun_is_said_to(server, client, package, monkeypatch, other):
    monkeypatch.setattr(kubeflow_client, "TIMEOUT_S", 0.3)
    _but(server, "/apis/v2beta1/runs", other)
    with pytest.raises(DataError, match=r"The run may have begun: look for 'small [\d: -]+' at http://[\d.:]+/#/runs "):
        client.submit(package, "small")


def test_a_run_that_was_refused_is_not_said_to_have_begun(server, client, package):
    _but(server, "/apis/v2beta1/runs", lambda method: (403, {"message": "no"}))
    with pytest.raises(DataError, match="Received: 403 no$"):
        client.submit(package, "small")


def test_a_dripping_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(kubeflow_client, "TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(100):
                    connection.sendall(b" ")
                    time.sleep(0.1)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(DataError, match="Received: no whole answer within 0.5 s"):
            Kubeflow(Address(f"http://127.0.0.1:{server.getsockname()[1]}"))
        thread.join()


def test_a_huge_answer_is_not_taken(server, monkeypatch):
    monkeypatch.setattr(kubeflow_client, "_LARGEST", 1 << 20)
    _but(server, "/apis/v2beta1/healthz", lambda method: (200, " " * (2 << 20)))
    with pytest.raises(DataError, match="/healthz: expected an answer of at most 1 MiB. Received: more"):
        Kubeflow(Address(server.host))


@pytest.mark.parametrize("answer", ["null", '{"multi_user": ' + "[" * 100_000])
def test_a_health_that_is_none_is_said_to_be(server, answer):
    _but(server, "/apis/v2beta1/healthz", lambda method: (200, answer))
    with pytest.raises(DataError, match="expected Kubeflow Pipelines' API. Received: "):
        Kubeflow(Address(server.host))


def _run(**fields):
    return lambda method: (200, json.dumps({"run_id": "mine", "state": "SUCCEEDED", **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        {"pipeline_spec": {"root": {"dag": {"tasks": {"a": {}}}}}},
        {"pipeline_spec": "text"},
        {"pipeline_spec": {"components": []}},
        {"run_details": {"task_details": [{"display_name": 3, "child_tasks": [None]}]}},
    ],
)
def test_a_run_of_another_form_is_no_traceback(server, client, fields):
    _but(server, "/apis/v2beta1/runs/mine", _run(**fields))
    with pytest.raises(DataError, match="expected Kubeflow Pipelines' API. Received: an answer of another form"):
        client.follow("mine", lambda step: None)


def test_a_node_that_is_its_own_child_is_looked_at_once(server, client):
    nodes = [
        {"display_name": name, "pod_name": name, "state": "SKIPPED", "child_tasks": [{"pod_name": "executor"}]}
        for name in ("First", "executor")
    ]
    nodes[0]["state"] = "SUCCEEDED"
    _but(server, "/apis/v2beta1/runs/mine", _run(run_details={"task_details": nodes}))
    assert [step.state for step in client.follow("mine", lambda step: None).steps] == [CACHED, "SKIPPED"]


def test_a_body_that_is_cut_short_is_asked_for_again(server, client, package, capfd):
    run = client.submit(package, "small")
    usual, answers = server.answer, ['{"run_id": "']
    server.answer = lambda *request: (200, answers.pop()) if answers else usual(*request)
    assert client.follow(run, lambda step: None).succeeded
    assert "JSON that is cut short or damaged" in capfd.readouterr().err


def test_a_server_with_trouble_of_its_own_is_asked_on_by_who_follows(server):
    server.troubles = 1
    with pytest.raises(DataError, match="Received: 503 no healthy upstream"):
        Kubeflow(Address(server.host))
    server.troubles = 1
    Kubeflow(Address(server.host), patient=True)


@pytest.mark.slow
def test_the_command_submits_what_compile_writes_and_ctrl_c_leaves_the_run_alone(server, tmp_path):
    server.stride = 5
    words = ["--data", "gs://b/d", "--root", "/mnt/runs", "--preset", "demo", "--engine", "kubeflow", "--image", "i"]
    done = cli("run", *words, "--host", server.host, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["state"] == "SUCCEEDED"
    assert len(said["steps"]) == 14
    assert f"submitted: {said['url']}" in done.stderr
    assert len(re.findall(r"^  \w+ +12\.0 s$", done.stderr, re.MULTILINE)) == 14

    server.waits = "Trainer"
    with Started(["-m", "pipeline", "run", *words, "--host", server.host]) as started:
        while not (len(server.looks) == 2 and all(server.looks.values())) and started.is_alive():
            time.sleep(0.1)
        assert started.is_alive(), started.wait()
        os.kill(started.pid, signal.SIGINT)
        stopped = started.wait()
    assert stopped.returncode == 130
    run = list(server.runs)[-1]
    again = re.search(r"follow it: .* (runs follow .*)", stopped.stderr)[1].split()
    assert again == ["runs", "follow", run, "--host", server.host]
    assert f"the run goes on: {server.host}/#/runs/details/{run}" in stopped.stderr

    server.waits, server.fails = None, {"Trainer": LOG}
    followed = cli(*again)
    assert followed.returncode == 1
    assert "Trainer" in followed.stderr
    assert "failed: Trainer: Error (exit code 1): arcface_common.errors.DataError: gs://b/d: exp" in followed.stderr
