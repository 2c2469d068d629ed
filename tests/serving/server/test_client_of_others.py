"""The client, against servers that aren't ours: silent, full, of another kind, or whose answers are no embeddings."""

import contextlib
import socket
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest

from arcface_common.errors import DataError
from serving import protos
from serving.client import RemoteModel
from serving.export import probe_images

pytestmark = pytest.mark.slow


def test_a_server_that_is_silent_has_its_time_once():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        with pytest.raises(DataError, match="expected the model 'm' to answer"):
            RemoteModel(f"http://127.0.0.1:{silent.getsockname()[1]}", "m", seconds=4)
        assert time.monotonic() - begun < 12  # five times as much with a try after each


@pytest.mark.parametrize("said", [b"[1]", b"3", b'{"metadata": [1]}', b'"x"'])
def test_a_server_of_another_kind(said):
    def answer(server):
        while True:
            with contextlib.suppress(OSError):
                taken, _ = server.accept()
                with taken:
                    taken.recv(65536)
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\nConnection: close\r\n\r\n"
                    taken.sendall(head.encode() + said)
                continue
            return

    with socket.create_server(("127.0.0.1", 0)) as other:
        thread = threading.Thread(target=answer, args=(other,), daemon=True)
        thread.start()
        with pytest.raises(DataError, match="expected the model 'm' to answer"):
            RemoteModel(f"http://127.0.0.1:{other.getsockname()[1]}", "m", seconds=4).embed([b"x"])
        other.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@contextlib.contextmanager
def _another_server(predict):
    """Answers Predict by a function of context -> PredictResponse, and tells no metadata; yields its address."""

    def metadata(request, context):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Metadata field model.json is not supported")

    methods = {
        "Predict": lambda request, context: predict(context).SerializeToString(),
        "GetModelMetadata": metadata,
    }
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service = "tensorflow.serving.PredictionService"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _response(dtype=1, version=1, **outputs):
    response = protos.message("tf_serving", "arcface_tfx.tf_serving.PredictResponse")()
    response.model_spec.version.value = version
    for name, array in outputs.items():
        tensor = response.outputs[name]
        tensor.dtype = dtype
        for size in np.shape(array):
            tensor.tensor_shape.dim.add(size=size)
        tensor.float_val.extend(np.ravel(array))
    return response


GOOD = {"embedding": [[0.6, 0.0, 0.8, 0.0]], "norm": [5.0]}


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_a_server_that_is_full_or_ends_is_asked_again(code):
    """Three times, and then it answers."""
    calls = []

    def predict(context):
        calls.append(time.monotonic())
        if len(calls) <= 3:
            context.abort(code, "full")
        return _response(**GOOD)

    with _another_server(predict) as address, RemoteModel(address, seconds=20) as remote:
        assert remote.metadata.embedding_dim == 4  # which it asks for: TF Serving doesn't tell
        with pytest.raises(DataError, match="tells the model's evaluation"):
            remote.threshold()
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({**GOOD, "embedding": [[np.nan] * 4]}, "expected embeddings of length 1. Received: one of length nan"),
        ({**GOOD, "embedding": [[np.inf] * 4]}, "expected embeddings of length 1"),
        ({**GOOD, "embedding": [[400.0, 0, 3, 0]]}, "expected embeddings of length 1. Received: one of length 400.011"),
        ({**GOOD, "embedding": [[1.0, 0]]}, r"an output 'embedding' of shape \[1, 4\]. Received: \[1, 2\]"),
        ({**GOOD, "embedding": [[1.0, 0, 0, 0]] * 2}, r"'embedding' of shape \[1, 4\]. Received: \[2, 4\]"),
        ({**GOOD, "norm": []}, r"'norm' of shape \[1\]. Received: \[0\]"),
        ({"norm": [1.0]}, r"'embedding' of shape \[1, 4\]. Received: none"),
        ({**GOOD, "dtype": 2}, r"outputs that are no arrays of floats or truths \(TensorFlow's type 2\)"),
    ],
)
def test_answers_that_are_no_embeddings_are_the_servers_fault(answer, words):
    answers = [_response(**GOOD), _response(**answer)]
    with (
        _another_server(lambda context: answers.pop(0)) as address,
        RemoteModel(address) as remote,
        pytest.raises(DataError, match=f"^{address}: .*{words}"),
    ):
        remote.embed(probe_images(1))


def test_an_embedding_of_length_0_is_an_answer():
    answers = [_response(**GOOD), _response(embedding=[[0.0] * 4], norm=[0.0])]
    with _another_server(lambda context: answers.pop(0)) as address, RemoteModel(address) as remote:
        assert remote.embed(probe_images(1)).norms.tolist() == [0]


def test_no_versions_are_mixed_where_images_are_asked_one_by_one():
    """The whole request is refused for one of them, and the model changes meanwhile."""
    answers = [_response(**GOOD), None, _response(**GOOD, version=1), _response(**GOOD, version=2)]

    def predict(context):
        return answers.pop(0) or context.abort(grpc.StatusCode.INVALID_ARGUMENT, "an image is bad")

    words = "expected one version of the model throughout.*Received: version 1, then 2"
    with _another_server(predict) as address, RemoteModel(address) as remote, pytest.raises(DataError, match=words):
        remote.embed(probe_images(2))
