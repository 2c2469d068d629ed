"""A server in a process of its own: its start, reloads and its end, under load."""

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import psutil
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server.batching import BatchingParameters
from tests.processes import Started, cli
from tests.serving.server.models import copy, warm_up_for_ever
from tests.serving.server.running import free_port, running
from tests.serving.server.test_tfs_rest import ask

pytestmark = pytest.mark.slow
BODY = json.dumps({"inputs": [[1, 2]]})


class _Process(Started):
    """`arcface-tfx serve`, until it answers."""

    def __init__(self, folder, *options):
        self.port, self.rest_port = free_port(), free_port()
        ports = ["--port", str(self.port), "--rest-port", str(self.rest_port), "--model-name", "m"]
        super().__init__(["-m", "pipeline", "serve", str(folder), *ports, "--poll-seconds", "0.1", *options])
        self.rest = f"127.0.0.1:{self.rest_port}"

    def until_ready(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.is_alive():
            try:
                if ask(self.rest, "GET", "/v2/health/ready")[0] == 200:
                    return self
            except ConnectionRefusedError:
                pass
            time.sleep(0.05)
        pytest.fail(f"expected a server that answers. Received: {self.wait() if not self.is_alive() else 'none'}")

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()


def _predict(address):
    return ask(address, "POST", "/v1/models/m:predict", BODY)[0]


def _request():
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones((1, 2), np.float32)))
    return request


def test_sigterm_answers_what_grpc_accepted(folder):
    """A request that the server's log knows has its answer; what came later was not accepted, and was told so."""
    answered, refused = set(), []

    def load(server, worker):
        with grpc.insecure_channel(f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for number in itertools.count():
                given_id = f"{worker}-{number}"
                try:
                    stub.Predict(_request(), timeout=30, metadata=[("x-request-id", given_id)])
                except grpc.RpcError as error:
                    refused.append(error.code())
                    return
                answered.add(given_id)

    with _Process(folder, "--drain-seconds", "20", "--log-requests").until_ready() as server:
        with ThreadPoolExecutor(8) as pool:
            workers = [pool.submit(load, server, worker) for worker in range(8)]
            time.sleep(1.5)
            assert not refused
            done = server.end()
            for worker in workers:
                worker.result()
    assert done.returncode == 0, done.stderr
    # gRPC itself cancels what comes before its goodbye has arrived.
    assert len(refused) == 8
    assert set(refused) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    lines = [line.split()[2:] for line in done.stderr.splitlines() if " GRPC Predict " in line]
    assert {line[2] for line in lines} == {"OK"}
    assert {line[4].removeprefix("id=") for line in lines} == answered
    assert len(answered) > 100


def test_sigterm_answers_what_was_accepted(folder):
    codes, dropped = [], []

    def load(server, stop):
        with contextlib.closing(http.client.HTTPConnection(server.rest, timeout=30)) as connection:
            while not stop.is_set():
                try:
                    connection.request("POST", "/v1/models/m:predict", BODY)
                    response = connection.getresponse()
                    response.read()
                    codes.append(response.status)
                except ConnectionRefusedError:
                    return  # no longer accepted
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                    connection.close()  # an idle connection was closed as the request set out: it was not accepted
                    dropped.append(time.monotonic())

    with _Process(folder, "--drain-seconds", "20").until_ready() as server:
        stop = threading.Event()
        with ThreadPoolExecutor(16) as pool:
            workers = [pool.submit(load, server, stop) for _ in range(16)]
            time.sleep(1.5)
            assert not dropped
            done = server.end()
            stop.set()
            for worker in workers:
                worker.result()
    assert done.returncode == 0, done.stderr
    assert len(codes) > 100
    assert set(codes) == {200}


def test_requests_that_wait_at_sigterm_are_answered(folder):
    slow = folder.parent / "batching.config"  # a minute is waited for company
    slow.write_text("batch_timeout_micros { value: 60000000 }")
    with _Process(folder, "--batching-parameters-file", str(slow)).until_ready() as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel, ThreadPoolExecutor(4) as pool:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            waiting = [stub.Predict.future(_request(), timeout=30) for _ in range(4)]
            plain = [pool.submit(_predict, server.rest) for _ in range(4)]
            time.sleep(0.7)
            begun = time.monotonic()
            done = server.end()
            assert time.monotonic() - begun < 15
            assert [call.code() for call in waiting] == [grpc.StatusCode.OK] * 4
            assert [one.result() for one in plain] == [200] * 4
    assert done.returncode == 0
    assert "draining: 8 requests" in done.stderr


def test_at_the_deadline_of_draining_the_rest_is_told(folder):
    body = json.dumps({"signature_name": "slow", "inputs": [10_000_000]})  # minutes
    with _Process(folder, "--drain-seconds", "1").until_ready() as server, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(ask, server.rest, "POST", "/v1/models/m:predict", body) for _ in range(4)]
        time.sleep(0.7)
        begun = time.monotonic()
        done = server.end()
        assert time.monotonic() - begun < 10
        answers = [one.result() for one in waiting]
    assert {(status, answer["error"]) for status, _, answer in answers} == {(503, "The server is shutting down")}
    assert done.returncode == 1
    assert "4 requests were not computed in 1 s" in done.stderr


def test_the_first_word_comes_at_once_and_probes_are_answered_while_it_loads(folder):
    with _Process(folder) as server:
        seen = []
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and 200 not in seen:
            try:
                assert ask(server.rest, "GET", "/v2/health/live")[0] == 200
                seen.append(ask(server.rest, "GET", "/v2/health/ready")[0])
            except ConnectionRefusedError:
                pass
        done = server.end()
    assert set(seen) == {503, 200}
    assert " starting: " in done.stderr.splitlines()[0]


def test_20_reloads_under_load_fail_no_request_and_keep_no_memory(folder):
    failures, answered, stop = [], [0, 0], threading.Event()

    def load(address):
        with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
            while not stop.is_set():
                connection.request("POST", "/v1/models/m:predict", BODY)
                response = connection.getresponse()
                response.read()
                answered[0] += 1
                if response.status != 200:
                    failures.append(response.status)

    def load_grpc(address):
        with grpc.insecure_channel(address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not stop.is_set():
                stub.Predict(_request(), timeout=30)
                answered[1] += 1

    memory = []
    with running(folder, batching=BatchingParameters(32, 500)) as server, ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(load, server.rest) for _ in range(2)]
        workers += [pool.submit(load_grpc, server.grpc) for _ in range(2)]
        for number in range(2, 24):
            shutil.rmtree(copy(folder / str(number - 1), number).parent / str(number - 1))
            server.look()
            memory.append(psutil.Process().memory_info().rss)
        stop.set()
        for worker in workers:
            worker.result()
        version = ask(server.rest, "GET", "/v1/models/m")[2]["model_version_status"][0]
    assert not failures
    assert min(answered) > 100
    assert version["version"] == "23"
    assert max(memory[-3:]) < memory[2] + (32 << 20)


def test_what_is_wrong_is_said_at_once(folder, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for option in ("--port", "--rest-port"):
            done = cli("serve", str(folder), "--port", str(free_port()), "--rest-port", str(free_port()), option, port)
            assert done.returncode == 2
            assert f"127.0.0.1:{port}: expected an address that is free" in done.stderr
    token = tmp_path / "token"
    token.write_text("short\n")
    wrong = {
        ("--token-file", str(token)): "expected a token of at least 16 characters",
        ("--label", "stable"): "expected NAME=VERSION",
        ("--model-name", "a/b"): "expected a name without / and :",
        ("--tls-cert", str(token)): "--tls-cert and --tls-key go together",
        ("--tls-cert", str(token), "--tls-key", str(token)): "expected a certificate chain and its key in PEM",
    }
    for options, words in wrong.items():
        done = cli("serve", str(folder), *options)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    (tmp_path / "empty").mkdir()
    done = cli("serve", str(tmp_path / "empty"))
    assert (done.returncode, "expected a SavedModel or a folder of numbered versions" in done.stderr) == (2, True)


def test_versions_and_ports_that_cannot_be_are_said_before_tensorflow_is_loaded(folder):
    copy(folder / "1", 3)
    ports = ("--port", str(free_port()), "--rest-port", str(free_port()))
    wrong = {
        (*ports, "--version", "5"): f"{folder}: expected version 5, as --version says. Received: 3, 1",
        (*ports, "--label", "stable=2"): "--label stable=2: expected a version that is served. Received: 3 is served",
        (*ports, "--label", "old=1"): "--label old=1: expected a version that is served. Received: 3 is served",
        ("--port", ports[1], "--rest-port", ports[1]): f"--port and --rest-port: expected two ports. "
        f"Received: {ports[1]} for both",
    }
    for options, words in wrong.items():
        code = (
            "import atexit, sys; atexit.register(lambda: print('tensorflow' in sys.modules))\n"
            f"from pipeline.cli import main; main({['serve', str(folder), *options]!r})"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, words in done.stderr) == (2, "False\n", True), done.stderr


def test_a_version_that_comes_later_is_said(folder):
    with _Process(folder, "--version", "1", "--version", "5").until_ready() as server:
        assert "version 5 is not there, and is served when it comes" in server.end().stderr


@pytest.mark.parametrize("delay", [0.0, 1.0, 3.0, 5.0])
def test_sigterm_ends_a_server_that_starts_within_two_seconds(folder, delay):
    command = [sys.executable, "-m", "pipeline", "serve", str(folder), "--port", str(free_port()), "--rest-port"]
    with subprocess.Popen([*command, str(free_port())], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert " starting: " in process.stderr.readline()
            time.sleep(1 + delay)  # until it hears the signal, and then amid imports, loading or warm-up
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
            assert time.monotonic() - begun < 2
            assert code in (0, -signal.SIGTERM)
        finally:
            process.kill()


def test_sigterm_while_a_later_version_is_loaded_does_not_wait_for_it(folder):
    with _Process(folder).until_ready() as server:
        later = folder.parent / "later"
        shutil.copytree(folder / "1", later)
        warm_up_for_ever(later)
        os.rename(later, folder / "2")
        deadline, states = time.monotonic() + 60, []
        while "LOADING" not in states and time.monotonic() < deadline:
            time.sleep(0.05)
            answer = ask(server.rest, "GET", "/v1/models/m")[2]
            states = [version["state"] for version in answer["model_version_status"]]
        assert "LOADING" in states
        done = server.end()
    assert done.returncode == 0
    assert "ending: no new request is taken" in done.stderr


def test_nothing_that_can_be_loaded_is_an_error(folder):
    (folder / "1" / "saved_model.pb").write_bytes(b"no graph")
    done = cli("serve", str(folder), "--port", str(free_port()), "--rest-port", str(free_port()))
    assert done.returncode == 2
    assert "expected a version that can be loaded" in done.stderr


def test_lines_of_requests_tell_no_content(folder):
    with _Process(folder, "--log-requests").until_ready() as server:
        headers = {"X-Request-Id": "mine"}
        ask(server.rest, "POST", "/v1/models/m:predict", json.dumps({"inputs": [[123.5, 2]]}), headers)
        ask(server.rest, "POST", "/v1/models/m:predict", json.dumps({"inputs": [["secret", 2]]}))
        done = server.end()
    lines = re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (REST Predict .*)$", done.stderr, re.MULTILINE)
    assert lines[0].startswith("REST Predict OK ")
    assert "id=mine version=1 signature=serving_default rows=1" in lines[0]
    assert lines[1].startswith("REST Predict INVALID_ARGUMENT ")
    assert not {"123.5", "370.5", "secret"} & set(done.stderr.split())


def test_a_full_disk_costs_words_and_no_answer(folder):
    port, rest_port = free_port(), free_port()
    arguments = ["serve", str(folder), "--port", str(port), "--rest-port", str(rest_port), "--model-name", "m"]
    code = (
        "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
        f"from pipeline.cli import main; main({[*arguments, '--log-requests', '--poll-seconds', '0.1']!r})"
    )
    with Started(["-c", code]) as process:
        deadline = time.monotonic() + 60
        status = None
        while time.monotonic() < deadline and process.is_alive() and status != 200:
            with contextlib.suppress(ConnectionRefusedError):
                status = _predict(f"127.0.0.1:{rest_port}")
            time.sleep(0.05)
        assert status == 200
        copy(folder / "1", 2)
        while time.monotonic() < deadline:
            states = ask(f"127.0.0.1:{rest_port}", "GET", "/v1/models/m")[2]["model_version_status"]
            if (states[0]["version"], states[0]["state"]) == ("2", "AVAILABLE"):
                break
            time.sleep(0.05)
        assert states[0]["version"] == "2"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait().returncode == 0
