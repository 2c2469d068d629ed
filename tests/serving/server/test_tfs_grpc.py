"""gRPC as tensorflow-serving-api's stubs speak it."""

import contextlib
import socket
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.export import probe_images
from serving.server.limits import Limits, Token
from tests.serving.server.malformed import bodies
from tests.serving.server.running import running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def channel(times):
    with grpc.insecure_channel(times.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def _request(model="m", signature="", version=None, label=None, only=(), **inputs):
    request = predict_pb2.PredictRequest(output_filter=only)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def _x(rows=1):
    return np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)


def _refused(call, *arguments, **named):
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments, timeout=20, **named)
    return error.value.code(), error.value.details()


def test_embeddings_are_those_of_the_local_model(served, model):
    images = probe_images(5)
    with grpc.insecure_channel(served.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(_request(image_bytes=images), timeout=20)
    expected = model.embed(images, resize=True)
    np.testing.assert_allclose(tf.make_ndarray(answer.outputs["embedding"]), expected.embeddings, atol=1e-5)
    np.testing.assert_allclose(answer.outputs["norm"].float_val, expected.norms, rtol=1e-4)


def test_predict_tells_who_answered(stub):
    answer = stub.Predict(_request(x=_x(3)), timeout=20)
    assert tf.make_ndarray(answer.outputs["y"]).tolist() == (3 * _x(3)).tolist()
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 7, "serving_default")


@pytest.mark.parametrize("how", [{"version": 7}, {"label": "stable"}, {"signature": "serving_default"}])
def test_ways_to_name_a_version(stub, how):
    assert stub.Predict(_request(x=_x(), **how), timeout=20).model_spec.version.value == 7


def test_chosen_outputs_strings_and_scalars(stub):
    texts = _request(signature="texts", only=["joined"], a_bytes=[b"\xff", b""], b=[b"b", b""])
    answer = stub.Predict(texts, timeout=20)
    assert list(answer.outputs) == ["joined"]
    assert list(answer.outputs["joined"].string_val) == [b"\xffb", b""]
    whole = stub.Predict(_request(signature="whole", x=np.array([2, 5])), timeout=20)
    assert list(whole.outputs["sum"].int64_val) == [7]
    assert not whole.outputs["sum"].tensor_shape.dim


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (_request("other", x=_x()), "NOT_FOUND", "Servable not found for request: Latest(other)"),
        (_request(version=3, x=_x()), "NOT_FOUND", "Servable not found for request: Specific(m, 3)"),
        (_request(label="canary", x=_x()), "INVALID_ARGUMENT", "Unrecognized servable version label: canary"),
        (_request(signature="nope", x=_x()), "FAILED_PRECONDITION", 'Serving signature key "nope" not found.'),
        (_request(), "INVALID_ARGUMENT", "Missing but required: {x}"),
        (_request(x=_x(), z=_x()), "INVALID_ARGUMENT", "Sent extra: {z}"),
        (_request(x=_x(), only=["q"]), "INVALID_ARGUMENT", "output tensor alias not found in signature: q"),
        (_request(x=_x(), only=["y", "y"]), "INVALID_ARGUMENT", "duplicate output tensor alias"),
        (_request(x=_x(0)), "INVALID_ARGUMENT", "equally many rows, at least one. Received: x [0, 2]"),
        (_request(x=np.zeros((1, 3), np.float32)), "INVALID_ARGUMENT", "expected float32 [-1, 2]"),
        (_request(x=-_x() - 1), "INVALID_ARGUMENT", "expected no negative number"),
    ],
)
def test_refusals_are_tf_servings(stub, request_, code, words):
    refused = _refused(stub.Predict, request_)
    assert (refused[0].name, words in refused[1]) == (code, True), refused


def _tensor(**fields):
    request = _request()
    tensor = request.inputs["x"]
    tensor.dtype = fields.pop("dtype", 1)
    for size in fields.pop("shape", ()):
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_shape.unknown_rank = fields.pop("unknown", False)
    for name, value in fields.items():
        getattr(tensor, name).extend(value) if isinstance(value, list) else setattr(tensor, name, value)
    return request


@pytest.mark.parametrize(
    "broken",
    [
        _tensor(shape=(-1, 2), float_val=[1.0]),
        _tensor(unknown=True, float_val=[1.0]),
        _tensor(shape=(1 << 40, 2), float_val=[1.0]),
        _tensor(shape=(1 << 62, 1 << 62), float_val=[1.0]),
        _tensor(shape=(1, 2), tensor_content=b"abc"),
        _tensor(shape=(1, 2), float_val=[1.0] * 9),
        _tensor(shape=(3, 2), float_val=[1.0] * 2),
        _tensor(shape=(3, 2), tensor_content=np.ones(2, np.float32).tobytes()),
        _tensor(shape=(1, 2)),
        _tensor(shape=(100_000, 2)),
        _tensor(shape=[1] * 100_000, float_val=[1.0]),
        _tensor(shape=(5000, 2), float_val=[1.0]),
        _tensor(dtype=4, shape=(1, 2), int_val=[300]),
        _tensor(shape=[1] * 300, float_val=[1.0]),
        _tensor(dtype=7, shape=(1 << 30,), string_val=[b""]),
        _tensor(dtype=7, shape=(2,), string_val=[b""]),
        _tensor(dtype=0, shape=(1, 2)),
        _tensor(dtype=20, shape=(1, 2)),
        _tensor(dtype=21, shape=(1, 2)),
        _tensor(dtype=99, shape=(1, 2)),
    ],
)
def test_broken_tensors_are_refused_and_take_no_memory(stub, broken):
    code, said = _refused(stub.Predict, broken)
    assert (code, len(said) < 2100) == (grpc.StatusCode.INVALID_ARGUMENT, True)


def test_one_value_may_stand_for_all(stub):
    answer = stub.Predict(_tensor(shape=(2, 2), float_val=[2.0]), timeout=20)
    assert tf.make_ndarray(answer.outputs["y"]).tolist() == [[6, 6], [6, 6]]


@pytest.mark.parametrize("letter", ["n", "名", "\N{GRINNING FACE}", "\t"])
def test_what_a_client_sends_is_said_in_short(stub, letter):
    code, said = _refused(stub.Predict, _request(signature=letter * 5000, x=_x()))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert said.startswith(f'Serving signature key "{letter * 100}')
    assert len(said) <= 2001


@settings(deadline=None, max_examples=bodies(500))
@given(body=st.binary(max_size=200), method=st.sampled_from(["Predict", "GetModelMetadata", "Classify"]))
def test_any_bytes_get_a_status(channel, body, method):
    call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    code, _ = _refused(call, body)
    assert code.name in {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"}


def test_what_is_not_offered_says_so(stub, channel):
    request = classification_pb2.ClassificationRequest()
    assert _refused(stub.Classify, request)[0] == grpc.StatusCode.UNIMPLEMENTED
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    reload = model_management_pb2.ReloadConfigRequest()
    assert _refused(models.HandleReloadConfigRequest, reload)[0] == grpc.StatusCode.UNIMPLEMENTED
    assert _refused(channel.unary_unary("/a.b/C"), b"")[0] == grpc.StatusCode.UNIMPLEMENTED


def test_metadata_are_the_signatures(stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "m"
    answer = stub.GetModelMetadata(request, timeout=20)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "slow", "texts", "whole"}
    assert answer.model_spec.version.value == 7
    request.metadata_field.append("other")
    assert _refused(stub.GetModelMetadata, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Metadata field other is not supported",
    )


def test_status_tells_each_version(channel):
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    assert _refused(models.GetModelStatus, request)[0] == grpc.StatusCode.INVALID_ARGUMENT
    request.model_spec.name = "m"
    (status,) = models.GetModelStatus(request, timeout=20).model_version_status
    assert (status.version, status.state) == (7, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    request.model_spec.version.value = 8
    assert _refused(models.GetModelStatus, request) == (
        grpc.StatusCode.NOT_FOUND,
        "Could not find version 8 of model m",
    )


def test_health_and_reflection(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "tensorflow.serving.PredictionService", "inference.GRPCInferenceService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
    for service, method in [
        ("tensorflow.serving.PredictionService", "Predict"),
        ("inference.GRPCInferenceService", "ModelInfer"),
    ]:
        (described,) = database.FindFileContainingSymbol(service).service
        assert method in [one.name for one in described.method]


def test_one_bad_image_among_31_others_fails_alone(served):
    good, bad = probe_images(8), b"no image"
    with grpc.insecure_channel(served.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        images = [bad if i == 17 else good[i % 8] for i in range(32)]
        calls = [stub.Predict.future(_request(image_bytes=[image]), timeout=60) for image in images]
        codes = [call.code() for call in calls]
    failed = [i for i, code in enumerate(codes) if code != grpc.StatusCode.OK]
    if failed:  # a graph that raises
        assert failed == [17]
        assert codes[17] == grpc.StatusCode.INVALID_ARGUMENT
    else:  # one that says which image it could read
        valid = [call.result().outputs["valid"].bool_val[0] for call in calls]
        assert [i for i, good in enumerate(valid) if not good] == [17]


def test_slow_clients_keep_nobody_waiting_and_those_without_a_greeting_are_hung_up_on(times, stub):
    host, port = times.grpc.split(":")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    greeting, half_a_request = b"\0\0\0\4\0\0\0\0\0", b"\0\1\0\1\4\0\0\0\1\x82"
    said = [b"", preface[:10], preface + greeting + half_a_request]
    slow = [socket.create_connection((host, int(port)), timeout=15) for _ in range(60)]
    begun = time.monotonic()
    for i, connection in enumerate(slow):
        connection.sendall(said[i % 3])
    for _ in range(10):
        assert stub.Predict(_request(x=_x()), timeout=5).outputs["y"]
    for i, connection in enumerate(slow):
        with contextlib.suppress(ConnectionResetError):
            while i % 3 < 2 and connection.recv(4096):
                pass  # the server's own greeting
        connection.close()
    assert time.monotonic() - begun < 12


def test_tokens_request_ids_limits_and_deadlines(times, model_dir):
    limits = Limits(body_bytes=100_000, seconds=0.0001)
    with running(model_dir, token=Token("a-secret-of-some-length"), limits=limits) as server:
        with grpc.insecure_channel(server.grpc) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            request = _request(image_bytes=probe_images(1))
            assert _refused(stub.Predict, request)[0] == grpc.StatusCode.UNAUTHENTICATED
            wrong = [("authorization", "Bearer a-secret-of-some-lengtH")]
            assert _refused(stub.Predict, request, metadata=wrong)[0] == grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.RpcError) as error:
                list(ProtoReflectionDescriptorDatabase(channel).get_services())
            assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
            right = [("authorization", "Bearer a-secret-of-some-length")]
            assert _refused(stub.Predict, request, metadata=right)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
            large = _request(image_bytes=[b"x" * 200_000])
            assert _refused(stub.Predict, large, metadata=right)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
            health = health_pb2_grpc.HealthStub(channel)  # probes carry no token
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status == 1
    with grpc.insecure_channel(times.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        _, call = stub.Predict.with_call(_request(x=_x()), metadata=[("x-request-id", "mine")], timeout=20)
        assert ("x-request-id", "mine") in call.trailing_metadata()
