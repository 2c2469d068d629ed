"""REST over plain HTTP, as TF Serving answers it."""

import base64
import gzip
import http.client
import json
import math
import pathlib
import re
import socket
import subprocess
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.export import probe_images
from serving.server.limits import Limits, Token
from tests.serving.server.malformed import bodies
from tests.serving.server.running import running

pytestmark = pytest.mark.slow
PREDICT = "/v1/models/m:predict"


def ask(address, method, path, body=None, headers=None):
    """Status, headers and JSON (or text) of an answer."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        content = response.read().decode()
        is_json = response.headers["content-type"].startswith("application/json")
        return response.status, response.headers, json.loads(content) if is_json else content
    finally:
        connection.close()


def predict(server, body, path=PREDICT, **headers):
    """Status and JSON of a prediction."""
    status, _, answer = ask(server.rest, "POST", path, body if isinstance(body, bytes) else json.dumps(body), headers)
    return status, answer


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


def test_embeddings_are_those_of_the_local_model(served, model):
    images = probe_images(3)
    status, answer = predict(served, {"instances": [{"image_bytes": b64(image)} for image in images]})
    expected = model.embed(images, resize=True)
    assert status == 200
    np.testing.assert_allclose([row["embedding"] for row in answer["predictions"]], expected.embeddings, atol=1e-5)
    np.testing.assert_allclose([row["norm"] for row in answer["predictions"]], expected.norms, rtol=1e-4)
    plain = predict(served, {"instances": [b64(image) for image in images]})
    columns = predict(served, {"inputs": [b64(image) for image in images]})
    assert plain == (status, answer)
    assert columns[1]["outputs"]["norm"] == [row["norm"] for row in answer["predictions"]]


@pytest.mark.parametrize(
    "path", ["/v1/models/m/versions/7:predict", "/v1/models/m/labels/stable:predict", "/V1/MODELS/m:PREDICT"]
)
def test_ways_to_name_a_version(times, path):
    assert predict(times, {"inputs": [[1, 2]]}, path) == (200, {"outputs": {"y": [[3.0, 6.0]], "size": [1]}})


def test_the_command_of_the_page_runs_as_it_is_written(served, tmp_path):
    image = tmp_path / "a.jpg"
    image.write_bytes(probe_images(1)[0])
    page = (pathlib.Path(__file__).parents[3] / "docs" / "how-to" / "serve.md").read_text()
    [command] = re.findall(r"^```\n(printf .*? curl .*?)^```", page, re.DOTALL | re.MULTILINE)
    for theirs, ours in {
        "build/demo/faces/person1-a.jpg": str(image),
        "http://127.0.0.1:8501/v1/models/arcface": f"http://{served.rest}/v1/models/m",
    }.items():
        assert theirs in command
        command = command.replace(theirs, ours)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "embedding" in json.loads(done.stdout)["predictions"][0], done


def test_floats_are_as_short_as_they_can_be_and_may_be_no_numbers(times):
    _, _, answer = ask(times.rest, "POST", PREDICT, '{"instances": [{"x": [0.1, 2]}]}')
    assert answer["predictions"][0]["y"] == [float(str(np.float32(0.1) * np.float32(3))), 6.0]
    status, answer = predict(times, b'{"inputs": [[Infinity, NaN]]}')
    assert status in (200, 400)  # no negative number; NaN is none
    if status == 200:
        assert answer["outputs"]["y"][0][0] == math.inf
        assert math.isnan(answer["outputs"]["y"][0][1])


def test_strings_and_bytes(times):
    rows = [{"a_bytes": b64(b"\xff"), "b": "ü"}, {"a_bytes": "", "b": ""}]
    status, answer = predict(times, {"signature_name": "texts", "instances": rows})
    assert status == 200
    assert answer["predictions"][0]["joined_bytes"] == b64(b"\xff" + "ü".encode())
    assert answer["predictions"][1] == {"joined": "", "joined_bytes": {"b64": ""}, "empty": True}


def test_a_single_output_loses_its_name_and_a_scalar_has_columns_alone(times):
    assert predict(times, {"signature_name": "whole", "inputs": [2, 3]}) == (200, {"outputs": 5})
    status, answer = predict(times, {"signature_name": "whole", "instances": [2, 3]})
    assert status == 400
    assert "equally many rows" in answer["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe", "JSON Parse error"),
        (b"[" * 100_000, "JSON Parse error"),
        (b'{"inputs": ' + b"[" * 900 + b"]" * 900 + b"}", "input 'x'"),
        ([], "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": [[1, 2]], "instances": [[1, 2]]}, "expecting only one of 'inputs' or 'instances'"),
        ({"instances": {}}, "Excepting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [{"x": [1, 2]}, [1, 2]]}, "Expecting object but got list at item 1"),
        ({"instances": [[1, 2], {"x": [1, 2]}]}, "Expecting value/list but got object at item 1"),
        ({"instances": [{"z": [1, 2]}]}, "keys must be equal to: x"),
        ({"instances": [[1, 2], [1]]}, "input 'x'"),
        ({"instances": [["1", "2"]]}, "is not of expected type: float32"),
        ({"instances": [[1, None]]}, "is not of expected type: float32"),
        ({"instances": [[1e300, 1]]}, "without loss of precision"),
        ({"instances": [[int("9" * 400), 1]]}, "input 'x'"),
        ({"instances": [[1, 2, 3]]}, "expected float32 [-1, 2]"),
        ({"instances": [[-1, 2]]}, "expected no negative number"),
        ({"inputs": {"z": 1}}, "Missing named input: x"),
        ({"inputs": [[1, 2]], "signature_name": 3}, "'signature_name' key must be a string value"),
        ({"inputs": [[1, 2]], "signature_name": "nope"}, 'Serving signature name: "nope" not found in signature def'),
        ({"inputs": [1.5, 2], "signature_name": "whole"}, "is not of expected type: int64"),
        ({"instances": ["a"], "signature_name": "texts"}, "instances is a plain list"),
        ({"inputs": ["a"], "signature_name": "texts"}, "inputs is a plain value/list"),
        ({"inputs": {"a_bytes": [{"b64": "!"}], "b": ["x"]}, "signature_name": "texts"}, "Unable to base64 decode"),
        ({"inputs": {"a_bytes": [3], "b": ["x"]}, "signature_name": "texts"}, "is not of expected type: string"),
        ({"inputs": {"a_bytes": ["a", ["b"]], "b": ["x"]}, "signature_name": "texts"}, "unexpected size"),
        ({"inputs": {"a_bytes": ["a"], "b": ["x", "y"]}, "signature_name": "texts"}, "equally many rows"),
        (
            {"inputs": {"a_bytes": [], "b": []}, "signature_name": "texts"},
            "expected inputs of equally many rows, at least one. Received: a_bytes [0], b [0]",
        ),
    ],
)
def test_broken_bodies_are_refused(times, body, words):
    status, answer = predict(times, body)
    assert (status, list(answer)) == (400, ["error"])
    assert words in answer["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/v1/models/other:predict", 404, "Servable not found for request: Latest(other)"),
        ("POST", "/v1/models/m/versions/3:predict", 404, "Servable not found for request: Specific(m, 3)"),
        ("POST", "/v1/models/m/versions/" + "9" * 30 + ":predict", 400, "Failed to convert version"),
        ("POST", "/v1/models/m/labels/canary:predict", 400, "Unrecognized servable version label: canary"),
        ("POST", "/v1/models/m:classify", 501, "classify is not offered"),
        ("POST", "/v1/models/m:regress", 501, "regress is not offered"),
        ("GET", "/v1/models/m:predict", 400, "Malformed request: GET /v1/models/m:predict"),
        ("GET", "/v1/models", 400, "Malformed request: GET /v1/models"),
        ("GET", "/v1/models/other", 404, "Could not find any versions of model other"),
        ("GET", "/v1/models/m/versions/3", 404, "Could not find version 3 of model m"),
        ("GET", "/v1/models/m/labels/x%00", 400, "Unrecognized servable version label: x\0"),
        ("GET", "/v1/models/m/versions/%D9%A7", 400, "Malformed request"),
        ("GET", "/v1/models/m/versions/3/metadata", 404, "Servable not found"),
        ("DELETE", "/v1/models/m", 400, "Malformed request: DELETE /v1/models/m"),
        ("GET", "/elsewhere", 404, "Not Found"),
        ("POST", "/v2/health/live", 405, "Method Not Allowed"),
    ],
)
def test_paths_that_lead_nowhere(times, method, path, status, words):
    received, _, answer = ask(times.rest, method, path, json.dumps({"inputs": [[1, 2]]}))
    assert (received, words in answer["error"]) == (status, True), answer


def test_status_and_metadata(times):
    version = {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/m", "/v1/models/m/versions/7", "/v1/models/m/labels/stable"):
        assert ask(times.rest, "GET", path)[2] == {"model_version_status": [version]}
    answer = ask(times.rest, "GET", "/v1/models/m/metadata")[2]
    assert answer["model_spec"] == {"name": "m", "signature_name": "", "version": "7"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "slow", "texts", "whole"}
    assert signatures["serving_default"]["inputs"]["x"]["tensor_shape"]["dim"][1]["size"] == "2"


def test_metrics_have_tf_servings_names(times):
    predict(times, {"inputs": [[1, 2]]})
    status, headers, text = ask(times.rest, "GET", "/monitoring/prometheus/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = dict(line.rpartition(" ")[::2] for line in text.splitlines() if not line.startswith("#"))
    assert float(lines[':tensorflow:serving:request_count{model_name="m",status="OK"}']) >= 1
    buckets = [
        line for line in lines if line.startswith(":tensorflow:serving:request_latency_bucket") and "Predict" in line
    ]
    assert len([line for line in buckets if 'entrypoint="REST"' in line]) == 34
    assert 'arcface_tfx:server:model_version{model_name="m",version="7",state="AVAILABLE"}' in lines


def test_bodies_may_be_packed_and_are_limited(times):
    body = json.dumps({"inputs": [[1, 2]]}).encode()
    packed = {"Content-Encoding": "gzip"}
    assert predict(times, gzip.compress(body), **packed)[0] == 200
    assert predict(times, b"no gzip", **packed)[0] == 400
    assert predict(times, gzip.compress(body)[:-9], **packed)[0] == 400
    assert predict(times, body, **{"Content-Encoding": "br"})[0] == 415
    assert predict(times, gzip.compress(bytes(2 << 20)), **packed)[0] == 413
    assert predict(times, bytes(2 << 20))[0] == 413
    chunks = (b"x" * 65536 for _ in range(20))  # no Content-Length
    connection = http.client.HTTPConnection(times.rest, timeout=30)
    try:
        connection.request("POST", PREDICT, chunks, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):  # it hung up while we were still sending
        pass
    finally:
        connection.close()


@settings(deadline=None, max_examples=bodies(500))
@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(times, body):
    assert predict(times, body)[0] == 400


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "b64", "b", "z"]), inner, max_size=2)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=bodies(500))
@given(key=st.sampled_from(["instances", "inputs"]), value=_json, name=st.sampled_from(["", "texts", "whole"]))
def test_any_json_gets_an_answer(times, key, value, name):
    status, answer = predict(times, {key: value, "signature_name": name})
    assert status in (200, 400)
    assert ("error" in answer) == (status == 400)


def test_raw_bytes_in_place_of_http(times):
    host, port = times.rest.split(":")
    for sent in (b"\0\1\2\3\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(sent)
            answer = connection.recv(4096)
        assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert predict(times, {"inputs": [[1, 2]]})[0] == 200


def test_slow_clients_are_hung_up_on_and_keep_nobody_waiting(times):
    host, port = times.rest.split(":")
    slow = [socket.create_connection((host, int(port)), timeout=15) for _ in range(50)]
    begun = time.monotonic()
    for i, connection in enumerate(slow):
        head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\n"
        connection.sendall(head if i % 2 else head + b"Content-Length: 100\r\n\r\n{")
    assert predict(times, {"inputs": [[1, 2]]})[0] == 200
    answers = []
    for connection in slow:
        try:
            answers.append(connection.recv(4096)[:12])
        except ConnectionResetError:
            answers.append(b"")
        connection.close()
    assert time.monotonic() - begun < 12
    assert set(answers[::2]) == {b"HTTP/1.1 408"}  # who sent a head
    assert set(answers[1::2]) == {b""}


def test_tokens_and_request_ids(model_dir):
    with running(model_dir, token=Token("a-secret-of-some-length"), limits=Limits(seconds=0.0001)) as server:
        status, headers, answer = ask(server.rest, "GET", "/v1/models/m")
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert "error" in answer
        for wrong in ("Bearer a-secret-of-some-lengtH", "Basic a-secret-of-some-length", "Bearer ü", "Bearer"):
            header = {"Authorization": wrong.encode("utf-8").decode("latin-1")}
            assert ask(server.rest, "GET", "/v1/models/m", headers=header)[0] == 401
        right = {"Authorization": "Bearer a-secret-of-some-length", "X-Request-Id": "mine"}
        status, headers, _ = ask(server.rest, "GET", "/v1/models/m", headers=right)
        assert (status, headers["x-request-id"]) == (200, "mine")
        assert ask(server.rest, "GET", "/v2/health/ready")[0] == 200  # probes carry no token
        body = json.dumps({"instances": [b64(probe_images(1)[0])]})
        assert ask(server.rest, "POST", PREDICT, body, right)[0] == 504
        strange = {**right, "X-Request-Id": "with a space"}
        assert len(ask(server.rest, "GET", "/v1/models/m", headers=strange)[1]["x-request-id"]) == 32
