"""The ONNX file, by the engines that people run it on, against the network that Keras runs."""

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import tf_keras

from arcface_common.errors import DataError
from arcface_common.features import PixelFormat
from serving.inference import keras_steps
from serving.inference.folding import fold
from serving.inference.onnx_model import to_onnx
from tests.closeness import assert_close
from tests.serving.inference.test_folding import drawn
from trainer_module import backbones
from trainer_module.data.images import to_input


def by_onnxruntime(content, pixels):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(["raw"], {"pixels": pixels})[0]


def by_openvino(content, pixels):
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([pixels])["raw"]


def written(model, pixel_format, fold_it=True):
    network = keras_steps.read(model)
    return to_onnx(fold(network) if fold_it else network, pixel_format, {"backbone": "a b"})


def pixels(count):
    return np.random.default_rng(0).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)


@pytest.fixture(
    scope="module",
    params=[
        ("iresnet_tiny", {}, PixelFormat("bgr", 127.5, 127.5)),
        ("iresnet_tiny", {"norm": "group"}, PixelFormat()),
        ("mobilefacenet", {}, PixelFormat()),
        ("mobilefacenet_mbf", {}, PixelFormat("rgb", 127.5, 127.5)),
        pytest.param(("iresnet50", {}, PixelFormat("rgb", 0, 1)), marks=pytest.mark.slow),
    ],
    ids=lambda param: " ".join((param[0], *param[1].values())),
)
def file_and_answers(request):
    """A network's file, and what Keras gives for 1 image and for 3."""
    name, options, pixel_format = request.param
    model = drawn(backbones.build(name, **options))
    answers = {n: model(to_input(pixels(n), pixel_format), training=False).numpy() for n in (1, 3)}
    return written(model, pixel_format).SerializeToString(), answers


@pytest.mark.parametrize("run", [by_onnxruntime, by_openvino])
def test_engines_give_what_keras_gives(run, file_and_answers):
    content, answers = file_and_answers
    for count, expected in answers.items():  # OpenVINO's iresnet50 with AVX-512: 1.4e-5
        assert_close(run(content, pixels(count).transpose(0, 3, 1, 2).astype(np.float32)), expected)


def test_an_unfolded_network_can_be_written_too():
    model = drawn(backbones.build("iresnet_tiny"))
    content = written(model, PixelFormat(), fold_it=False).SerializeToString()
    images = pixels(2)
    expected = model(to_input(images, PixelFormat()), training=False).numpy()
    assert_close(by_onnxruntime(content, images.transpose(0, 3, 1, 2).astype(np.float32)), expected, 1e-5)


def test_what_insightface_looks_for():
    """`ArcFaceONNX` takes a file for one that normalises itself by names among its first eight nodes."""
    model = written(backbones.build("iresnet_tiny"), PixelFormat())
    names = [node.name for node in model.graph.node[:8]]
    assert any(name.startswith("Sub") for name in names) and any(name.startswith("Mul") for name in names)
    [given], [answer] = model.graph.input, model.graph.output
    assert [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim] == ["N", 3, 112, 112]
    assert [d.dim_param or d.dim_value for d in answer.type.tensor_type.shape.dim] == ["N", 128]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"backbone": "a b"}
    assert not [node.op_type for node in model.graph.node if "Normalization" in node.op_type]
    onnx.checker.check_model(model)


def test_a_users_own_layer_is_named():
    image = tf_keras.Input((112, 112, 3))
    x = tf_keras.layers.GlobalAveragePooling2D(name="mine")(image)
    with pytest.raises(DataError, match=r"layers of this project's own.* Received: mine \(GlobalAveragePooling2D\)"):
        written(tf_keras.Model(image, x), PixelFormat())
