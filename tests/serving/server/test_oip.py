"""The Open Inference Protocol as Triton's clients speak it, and as plain HTTP and gRPC do."""

import base64
import json

import grpc
import hypothesis
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

from serving import protos
from serving.export import probe_images
from tests.serving.server.malformed import bodies
from tests.serving.server.test_tfs_rest import ask

pytestmark = pytest.mark.slow
CLIENTS = {"grpc": tritonclient.grpc, "http": tritonclient.http}


@pytest.fixture(params=["grpc", "http"])
def library(request):
    return CLIENTS[request.param]


def _client(library, server):
    return library.InferenceServerClient(server.grpc if library is tritonclient.grpc else server.rest)


def _inputs(library, binary=True, **arrays):
    made = []
    for name, array in arrays.items():
        datatype = {"f": "FP32", "i": "INT64", "O": "BYTES"}[array.dtype.kind]
        given = library.InferInput(name, list(array.shape), datatype)
        given.set_data_from_numpy(array, **({} if library is tritonclient.grpc else {"binary_data": binary}))
        made.append(given)
    return made


def test_health_and_metadata(times, library):
    with _client(library, times) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("m")
        assert client.is_model_ready("m", "7")
        named = {} if library is tritonclient.http else {"as_json": True}
        metadata = client.get_model_metadata("m", **named)
        assert metadata["versions"] == ["7"]
        assert metadata["platform"] == "tensorflow_savedmodel"
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}] or metadata["inputs"] == [
            {"name": "x", "datatype": "FP32", "shape": ["-1", "2"]}
        ]
        assert client.get_server_metadata(**named)["name"] == "arcface-tfx"


def test_embeddings_are_those_of_the_local_model(served, model, library):
    images = probe_images(3)
    with _client(library, served) as client:
        answer = client.infer("m", _inputs(library, image_bytes=np.array(images, object)), request_id="mine")
    expected = model.embed(images, resize=True)
    np.testing.assert_allclose(answer.as_numpy("embedding"), expected.embeddings, atol=1e-5)
    np.testing.assert_allclose(answer.as_numpy("norm"), expected.norms, rtol=1e-4)
    told = answer.get_response() if library is tritonclient.http else answer.get_response(as_json=True)
    assert (told["model_name"], told["model_version"], told["id"]) == ("m", "1", "mine")


def test_other_signatures_chosen_outputs_and_versions(times, library):
    texts = {"a_bytes": np.array([b"\xff\0", b""], object), "b": np.array([b"b", b""], object)}
    with _client(library, times) as client:
        answer = client.infer(
            "m",
            _inputs(library, **texts),
            model_version="7",
            outputs=[library.InferRequestedOutput("joined"), library.InferRequestedOutput("empty")],
            parameters={"signature_name": "texts"},
        )
    assert answer.as_numpy("joined").tolist() == [b"\xff\0b", b""]
    assert answer.as_numpy("empty").tolist() == [False, True]
    assert answer.as_numpy("joined_bytes") is None


def test_without_binary_tensors(times):
    library = tritonclient.http
    with _client(library, times) as client:
        x = np.array([[1, 2], [3, 4]], np.float32)
        outputs = [library.InferRequestedOutput("y", binary_data=False)]
        answer = client.infer("m", _inputs(library, binary=False, x=x), outputs=outputs)
    assert answer.as_numpy("y").tolist() == (3 * x).tolist()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model_name": "other"}, "Servable not found for request: Latest(other)"),
        ({"model_version": "3"}, "Servable not found for request: Specific(m, 3)"),
        ({"model_version": "x"}, "expected a version that is a number"),
        ({"parameters": {"signature_name": "nope"}}, 'Serving signature key "nope" not found.'),
        ({"rows": 0}, "expected inputs of equally many rows, at least one. Received: x [0, 2]"),
    ],
)
def test_refusals(times, library, arguments, words):
    arguments = {"rows": 1, "model_name": "m", **arguments}
    x = np.ones((arguments.pop("rows"), 2), np.float32)
    given = {"inputs": _inputs(library, x=x), **arguments}
    with _client(library, times) as client, pytest.raises(InferenceServerException) as error:
        client.infer(**given)
    assert words in str(error.value)


def _ask(server, body, path="/v2/models/m/infer", **headers):
    status, _, answer = ask(server.rest, "POST", path, body if isinstance(body, bytes) else json.dumps(body), headers)
    return status, answer


def _x(**changes):
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2], **changes}]}


def test_plain_json(times, served, model):
    expected = [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [3.0, 6.0]}]
    body = {"id": "mine", **_x(), "outputs": [{"name": "y"}]}
    for given in (body, {**body, **_x(data=[[1, 2]])}):
        answer = {"model_name": "m", "model_version": "7", "id": "mine", "outputs": expected}
        assert _ask(times, given) == (200, answer)
    (image,) = probe_images(1)
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(image).decode()]}
    status, answer = _ask(served, {"inputs": [{**tensor, "parameters": {"content_type": "base64"}}]})
    assert status == 200
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    np.testing.assert_allclose(outputs["embedding"], model.embed([image], resize=True).embeddings[0], atol=1e-5)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "JSON Parse error"),
        ({}, "Missing but required: {x}"),
        ({"inputs": 3}, "inputs: expected a list"),
        ({"inputs": [3]}, "inputs: expected an object"),
        ({"inputs": [{"name": 3}]}, "expected a name each"),
        ({"inputs": _x()["inputs"] * 2}, "each once"),
        (_x(datatype="FLOAT"), "expected a datatype of BOOL"),
        (_x(datatype=[]), "expected a datatype of BOOL"),
        (_x(shape=[-1, 2]), "expected a shape of whole numbers"),
        (_x(shape="12"), "expected a shape of whole numbers"),
        (_x(shape=[1 << 40, 1 << 40]), "bytes. Received: a tensor of shape"),
        (_x(shape=[1 << 40, 1 << 40, 0], data=[]), "bytes. Received: a tensor of shape"),
        (_x(data=[1]), "expected 2 elements"),
        (_x(data=None), "expected data, a list"),
        (_x(data=["a", "b"]), "expected float32 elements"),
        (_x(datatype="UINT8", data=[1, 256]), "expected uint8 elements"),
        (_x(parameters={"binary_data_size": 8}), "expected what the body holds"),
        (_x(parameters=3), "parameters: expected an object"),
        ({**_x(), "parameters": {"signature_name": 3}}, "parameter signature_name: expected a string"),
        ({**_x(), "outputs": [{"name": "q"}]}, "output tensor alias not found"),
    ],
)
def test_broken_json(times, body, words):
    status, answer = _ask(times, body)
    assert (status, list(answer)) == (400, ["error"])
    assert words in answer["error"]


@pytest.mark.parametrize("header", ["x", "-1", "999", "0"])
def test_broken_binary_headers(times, header):
    assert _ask(times, json.dumps(_x()).encode(), **{"Inference-Header-Content-Length": header})[0] == 400


@hypothesis.settings(deadline=None, max_examples=bodies(300))
@hypothesis.given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_over_rest(times, body, length):
    assert _ask(times, body, **{"Inference-Header-Content-Length": str(length)})[0] == 400


@hypothesis.settings(deadline=None, max_examples=bodies(300))
@hypothesis.given(
    st.builds(
        lambda raw, shape, datatype: protos.message("open_inference", "inference.ModelInferRequest")(
            model_name="m", inputs=[{"name": "x", "shape": shape, "datatype": datatype}], raw_input_contents=raw
        ).SerializeToString(),
        st.lists(st.binary(max_size=20), max_size=2),
        st.lists(st.integers(-2, 2**62), max_size=3),
        st.sampled_from(["FP32", "BYTES", "FP16", "X"]),
    )
    | st.binary(max_size=100)
)
def test_any_bytes_over_grpc(times, body):
    with grpc.insecure_channel(times.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as error:
            call(body, timeout=20)
    assert error.value.code().name in {"INVALID_ARGUMENT", "NOT_FOUND"}


def test_typed_contents_over_grpc(times):
    make = protos.message("open_inference", "inference.ModelInferRequest")
    answer = protos.message("open_inference", "inference.ModelInferResponse")
    request = make(model_name="m", id="mine")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([1, 2])
    with grpc.insecure_channel(times.grpc) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer", make.SerializeToString, answer.FromString
        )
        response = call(request, timeout=20)
    outputs = {output.name: list(output.contents.fp32_contents) for output in response.outputs}
    assert (response.id, outputs["y"], list(response.raw_output_contents)) == ("mine", [3, 6], [])
