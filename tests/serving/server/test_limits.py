"""What one client may ask of a server at most, and what a client that is gone costs."""

import json
import socket
import time

import pytest

from tests.processes import cli
from tests.serving.server.certificates import self_signed
from tests.serving.server.test_tfs_rest import PREDICT, predict

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("head", [(b"x: 1\r\n", 101), (b"x: " + b"1" * 1000 + b"\r\n", 99), (b"1" * 1000, 500)])
def test_a_head_is_limited(times, head):
    host, port = times.rest.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        try:
            connection.sendall(b"GET /v1/models/m HTTP/1.1\r\n" + head[0] * head[1] + b"\r\n")
            answer = connection.recv(4096)
        except ConnectionError:  # it hung up while we were still sending
            answer = b""
    assert not answer or answer.startswith(b"HTTP/1.1 400")


def test_rows_are_limited(times):
    status, answer = predict(times, {"inputs": [[1, 2]] * 4097})
    assert (status, answer["error"]) == (
        400,
        "expected at most 4096 rows in a request, as --max-rows says. Received: 4097",
    )
    assert predict(times, {"inputs": [[1, 2]] * 4096})[0] == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PREDICT, {"signature_name": "slow", "inputs": [500] * 320}),
        (
            "/v2/models/m/infer",
            {
                "parameters": {"signature_name": "slow"},
                "inputs": [{"name": "turns", "datatype": "INT64", "shape": [320], "data": [500] * 320}],
            },
        ),
    ],
)
def test_a_client_that_hung_up_is_not_computed_for(times, path, body):
    host, port = times.rest.split(":")
    content = json.dumps(body).encode()
    before = times.server.core.metrics.requests.values.get(("m", "CANCELLED"), 0)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(content)) + content)
        _until(lambda: times.server.core.batcher.waiting())
    _until(lambda: times.server.core.metrics.requests.values.get(("m", "CANCELLED"), 0) > before)
    _until(lambda: not times.server.core.batcher.waiting())


def _until(is_so):
    ends = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_key_with_a_passphrase_is_named(folder, tmp_path):
    certificate, key = self_signed(tmp_path, "127.0.0.1", passphrase=b"a passphrase")
    done = cli("serve", str(folder), "--tls-cert", certificate, "--tls-key", key)
    words = "--tls-key: expected a key without a passphrase. Received: an encrypted one"
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_a_folder_of_too_high_a_number_is_named(tmp_path):
    (tmp_path / "99999999999999999999").mkdir()
    done = cli("serve", str(tmp_path))
    words = "expected a version's folder, of a number below 2^63. Received: 99999999999999999999"
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
