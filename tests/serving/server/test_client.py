"""The client, against our server: the same answers as the local model's, by gRPC and REST, and by the commands."""

import json
import re
import shutil
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest

from arcface_common.artifacts import EXTRA, VERIFICATION_FILE
from arcface_common.errors import DataError
from serving.client import RemoteModel
from serving.export import probe_images
from serving.local import LocalModel
from serving.server.limits import Token
from tests.processes import ROOT, cli
from tests.serving.server.certificates import self_signed
from tests.serving.server.running import free_port, running

pytestmark = pytest.mark.slow
EVALUATION = {
    "sets": {"lfw": {"threshold": 1.5, "pairs": 600}},
    "thresholds": {"lfw": {"0.01": {"threshold": 1.2, "impostors": 300, "false_accepts": 3}}},
}


@pytest.fixture(scope="module")
def pushed(model_dir, tmp_path_factory):
    """The exported network with an evaluation."""
    path = tmp_path_factory.mktemp("pushed") / "5"
    shutil.copytree(model_dir, path)
    (path / EXTRA / VERIFICATION_FILE).write_text(json.dumps(EVALUATION))
    return path


@pytest.fixture(scope="module")
def server(pushed):
    with running(pushed) as server:
        yield server


@pytest.fixture(params=["grpc", "rest"])
def remote(request, server):
    address = server.grpc if request.param == "grpc" else f"http://{server.rest}"
    with RemoteModel(address, "m", seconds=20) as remote:
        yield remote


@pytest.fixture(scope="module")
def local(pushed):
    return LocalModel(pushed)


def test_embeddings_and_verdicts_are_the_local_models(remote, local):
    images = probe_images(70)
    assert remote.metadata == local.metadata
    near, far = remote.embed(images), local.embed(images)
    np.testing.assert_allclose(near.embeddings, far.embeddings, atol=1e-5)
    np.testing.assert_allclose(near.norms, far.norms, rtol=1e-4)
    assert near.positions.tolist() == list(range(70))
    assert [len(part) for part in remote.embed_iter(images, batch_size=32)] == [32, 32, 6]
    assert len(remote.embed([])) == 0
    given = {"far": 1e-2}
    ours, theirs = remote.verify(*images[:2], **given), local.verify(*images[:2], **given)
    assert (ours.same, ours.threshold) == (theirs.same, theirs.threshold)
    assert ours.cosine == pytest.approx(theirs.cosine, abs=1e-5)
    assert remote.threshold() == local.threshold()
    assert remote.verify(images[0], np.zeros((112, 112, 3), np.uint8), 0.5).threshold.cosine == 0.5


def test_bad_images_are_named_and_the_others_go_on(remote):
    images = probe_images(8)
    broken = images[0][:-200] + b"\0" * 198 + b"\xff\xd9"  # its end is there, its middle isn't
    half = images[0][: len(images[0]) // 2]
    left_out = []
    given = [images[0], broken if _refused(remote, broken) else half, images[1], half]
    found = remote.embed(given, on_bad=lambda position, error: left_out.append(position))
    assert found.positions.tolist() == [0, 2]
    assert left_out == [3, 1] or left_out == [1, 3]
    with pytest.raises(DataError, match="image 1: expected a whole"):
        remote.embed([images[0], half])


def _refused(remote, image):
    try:
        remote.embed([image])
    except DataError:
        return True
    return False


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_errors_name_the_server(server, scheme):
    address = f"{scheme}{server.rest if scheme else server.grpc}"
    with pytest.raises(DataError, match="expected the model 'other' to answer") as error:
        RemoteModel(address, "other", seconds=5)
    assert address in str(error.value)
    begun = time.monotonic()
    with pytest.raises(DataError, match="127.0.0.1:9: expected the model 'm' to answer"):
        RemoteModel(f"{scheme}127.0.0.1:9", "m", seconds=5)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("address", ["", "host", "host:99999", "ftp://host:1", "host:1/path", "a b", " host:1"])
def test_addresses_that_are_none(address):
    with pytest.raises(DataError, match="server: expected HOST:PORT"):
        RemoteModel(address)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"address": 3}, "address: expected text, such as '127.0.0.1:8500'. Received: 3"),
        ({"address": b"127.0.0.1:9"}, "address: expected text"),
        ({"model": None}, "model: expected a name. Received: None"),
        ({"seconds": "x"}, "seconds: expected seconds above 0 and at most 86,400. Received: 'x'"),
        ({"seconds": -1}, "seconds: expected seconds above 0"),
        ({"token": b"0123456789abcdef"}, "token: expected a token in ASCII without spaces, or None. Received: bytes"),
        ({"token": "0123456789abcdef\n"}, "token: expected a token in ASCII without spaces, or None. Received: str"),
        ({"token": ""}, "token: expected a token"),
        ({"certificate": 3}, "certificate: expected a path, or None. Received: 3"),
        ({"certificate": "a\0b"}, "certificate: expected a path"),
    ],
)
def test_arguments_of_another_kind(given, words):
    with pytest.raises(DataError, match=f"^{re.escape(words)}"):
        RemoteModel(**{"address": "127.0.0.1:9", **given})


@pytest.mark.parametrize("address", ["grpcs://127.0.0.1:9", "https://127.0.0.1:9"])
def test_a_certificate_that_is_not_there_is_named_at_once(address, tmp_path):
    begun = time.monotonic()
    with pytest.raises(FileNotFoundError) as error:
        RemoteModel(address, certificate=tmp_path / "none.pem")
    assert error.value.filename == str(tmp_path / "none.pem")
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_embeddings_of_two_versions_are_not_mixed(pushed, tmp_path, scheme):
    folder = tmp_path / "m"
    shutil.copytree(pushed, folder / "1")
    with running(folder) as server:
        with RemoteModel(f"{scheme}{server.rest if scheme else server.grpc}", "m") as remote:
            parts = remote.embed_iter(probe_images(4), batch_size=2)
            next(parts)
            shutil.copytree(pushed, folder / "2")
            server.look()
            words = "expected one version of the model throughout.*Received: version 1, then 2"
            with pytest.raises(DataError, match=words):
                next(parts)
            assert len(remote.embed(probe_images(4), batch_size=2)) == 4


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_client_outlives_a_restart_of_its_server(pushed, scheme):
    """It finds nobody, then a server that starts, then the next version."""
    image = probe_images(1)
    ports = {"port": free_port(), "rest_port": free_port()}
    address = f"{scheme}127.0.0.1:{ports['rest_port' if scheme else 'port']}"
    with running(pushed, **ports):
        remote = RemoteModel(address, "m", seconds=60)
        expected = remote.embed(image).embeddings

    def restart():
        time.sleep(1)
        with running(pushed, **ports) as server:
            server.server._ready.clear()
            listening.set()
            time.sleep(1.5)
            server.server._ready.set()
            answered.wait(60)

    listening, answered = threading.Event(), threading.Event()
    thread = threading.Thread(target=restart)
    thread.start()
    try:
        np.testing.assert_allclose(remote.embed(image).embeddings, expected, atol=1e-6)
        assert listening.is_set()
    finally:
        answered.set()
        thread.join()
        remote.close()


def test_a_server_that_starts_answers_probes_alone(pushed, capfd):
    with running(pushed) as server:
        server.server._ready.clear()
        for address in (server.grpc, f"http://{server.rest}"):
            with pytest.raises(DataError, match=r"(UNAVAILABLE|status 503), The server is starting"):
                RemoteModel(address, "m", seconds=6)
        assert capfd.readouterr().err.count("; asking on until 6 s are over") == 2
        with grpc.insecure_channel(server.grpc) as channel:
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=10)
        assert live == b"\x08\x01"
        server.server._ready.set()


def test_tls_and_a_token(pushed, tmp_path):
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    token = "a-secret-of-some-length"
    with running(pushed, certificate=(certificate, key), token=Token(token)) as server:
        for address in (f"grpcs://{server.grpc}", f"https://{server.rest}"):
            with RemoteModel(address, "m", token=token, certificate=certificate) as remote:
                assert len(remote.embed(probe_images(2))) == 2
            with pytest.raises(DataError, match="UNAUTHENTICATED|status 401"):
                RemoteModel(address, "m", token="another-of-some-length", certificate=certificate)
            with pytest.raises(DataError, match="expected the model 'm' to answer"):
                RemoteModel(address, "m", token=token, seconds=3)  # an authority that nobody trusts


def test_commands_with_a_server(server, local, tmp_path):
    paths = [str(tmp_path / f"{i}.jpg") for i in range(3)]
    images = probe_images(2)
    for path, content in zip(paths, [*images, b"no image"], strict=True):
        with open(path, "wb") as file:
            file.write(content)
    options = ["--server", server.grpc, "--server-model", "m"]
    done = cli("embed", *options, *paths)
    assert done.returncode == 1
    assert f"left out: {paths[2]}" in done.stderr
    found = json.loads(done.stdout)
    np.testing.assert_allclose([row["embedding"] for row in found], local.embed(images).embeddings, atol=1e-5)
    done = cli(
        "verify", *paths[:2], "--far", "1e-2", "--json", "--server", f"http://{server.rest}", "--server-model", "m"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cosine"] == pytest.approx(local.verify(*images, far=1e-2).cosine, abs=1e-5)
    for arguments in (["embed", paths[0]], ["verify", *paths[:2]], ["verify", *paths, *options]):
        assert cli(*arguments).returncode == 2
    assert "--server, which it goes with" in cli("verify", "m", *paths[:2], "--token-file", paths[0]).stderr


def test_the_client_starts_without_tensorflow(server, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(probe_images(1)[0])
    code = (
        "import sys; from pipeline.cli import main; import atexit\n"
        "atexit.register(lambda: print('tensorflow' in sys.modules, file=sys.stderr))\n"
        f"main(['embed', '--server', {server.grpc!r}, '--server-model', 'm', {str(path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "False"


def test_threads_share_a_client(remote):
    images = probe_images(8)
    expected = remote.embed(images).embeddings
    answers = [None] * 8

    def ask(i):
        answers[i] = remote.embed([images[i]]).embeddings

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(np.concatenate(answers), expected, atol=1e-5)
