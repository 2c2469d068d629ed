"""Other people's networks: fed and read as onnxruntime and our own signature say."""

import io

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from arcface_common.errors import DataError
from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from evaluator_custom.networks.embedder import PairEmbedder
from evaluator_custom.networks.foreign import EmbedderOptions, ForeignEmbedder, load_embedder
from serving import export
from tests.closeness import assert_close
from tests.helpers import jpeg
from tests.trainer_module.weights.onnx_networks import mobilefacenet
from trainer_module import backbones

IMAGES = [jpeg(i) for i in range(5)]
PIXELS = PixelFormat(mean=127.5, scale=127.5)


@pytest.fixture(scope="module")
def mbf(tmp_path_factory):
    """An ONNX file as arcface_torch exports its mobilefacenet, narrow."""
    path = tmp_path_factory.mktemp("onnx") / "mbf.onnx"
    onnx.save(mobilefacenet(folded=True, blocks=(1, 1, 1, 1), scale=1, dim=16), path)
    return str(path)


def _pixels(images, size=112):
    """uint8 [N, size, size, 3], decoded by Pillow."""
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) for image in images])
    if size != pixels.shape[1]:
        pixels = np.asarray(tf.cast(tf.round(tf.image.resize(pixels, (size, size))), tf.uint8))
    return pixels


def _by_onnxruntime(path, pixels, mean, scale):
    """The embeddings of pixels [N, H, W, 3] and of their mirrors, one image at a time."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    values = (pixels.astype(np.float32) - np.float32(mean)) / np.float32(scale)

    def run(batch):
        return np.concatenate(
            [session.run(None, {image.name: np.ascontiguousarray(x.transpose(2, 0, 1)[None])})[0] for x in batch]
        )

    return run(values), run(values[:, :, ::-1])


def _assert_close(received, expected):
    for ours, theirs in zip(received, expected, strict=True):
        assert_close(ours, theirs)


def test_an_onnx_file_gives_onnxruntimes_embeddings(mbf):
    embedder = load_embedder(mbf, EmbedderOptions(pixels=PIXELS))
    assert isinstance(embedder, ForeignEmbedder)
    raw, mirrored = embedder.embed(IMAGES)
    assert (raw.dtype, raw.shape) == (np.float32, (5, 16))
    _assert_close((raw, mirrored), _by_onnxruntime(mbf, _pixels(IMAGES), 127.5, 127.5))


def test_colour_order_and_range_are_what_is_asked_for(mbf):
    options = EmbedderOptions(pixels=PixelFormat("bgr", mean=100.0, scale=64.0))
    expected = _by_onnxruntime(mbf, _pixels(IMAGES)[..., ::-1], 100, 64)
    _assert_close(load_embedder(mbf, options).embed(IMAGES), expected)
    facts = load_embedder(mbf, options).facts()
    assert "nchw" in facts["input"]
    assert "bgr" in facts["pixels"]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_filled(mbf, tmp_path, batch):
    model = onnx.load(mbf)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = batch
    path = str(tmp_path / "fixed.onnx")
    onnx.save(model, path)
    expected = load_embedder(mbf, EmbedderOptions(pixels=PIXELS)).embed(IMAGES)
    _assert_close(load_embedder(path, EmbedderOptions(pixels=PIXELS)).embed(IMAGES), expected)


def test_an_open_batch_behind_a_fixed_reshape_is_fed_one_by_one_and_that_is_said(mbf, tmp_path, capsys):
    model = onnx.load(mbf)
    reshape = next(node for node in model.graph.node if node.op_type == "Reshape")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 512], np.int64), "shape"))
    reshape.input[1] = "shape"
    path = str(tmp_path / "fixed.onnx")
    onnx.save(model, path)
    embedder = load_embedder(path, EmbedderOptions(pixels=PIXELS))
    _assert_close(embedder.embed(IMAGES), load_embedder(mbf, EmbedderOptions(pixels=PIXELS)).embed(IMAGES))
    said = capsys.readouterr().err
    assert said.count(f"{path}: declares an open batch, and takes one image a call: slower") == 1


def test_what_is_not_what_it_says_is_refused_before_onnxruntime(mbf, tmp_path):
    model = onnx.load(mbf)
    model.graph.initializer[0].dims[0] += 1
    (tmp_path / "short.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=r"short\.onnx: tensor 'w0': expected .* bytes for dims"):
        load_embedder(str(tmp_path / "short.onnx"), EmbedderOptions(pixels=PIXELS))


def test_a_network_that_makes_more_than_the_machine_has_is_refused(tmp_path):
    sizes = numpy_helper.from_array(np.array([2**20, 2**20], np.int64), "sizes")
    nodes = [
        helper.make_node("ConstantOfShape", ["sizes"], ["big"]),
        helper.make_node("ReduceMean", ["big"], ["small"], axes=[0, 1], keepdims=0),
        helper.make_node("ReduceMean", ["image"], ["rows"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["rows", "small"], ["y"]),
    ]
    for batch in ("n", 2):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 112, 112])
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])
        graph = helper.make_graph(nodes, "g", [image], [output], [sizes])
        path = tmp_path / f"{batch}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        with pytest.raises(DataError, match=r"expected a network that takes images.* requested bytes of 4398046511104"):
            load_embedder(str(path), EmbedderOptions()).embed(IMAGES)


def _linear_onnx(path, shape, outputs=("embedding",), inputs=("image",), dtype=TensorProto.FLOAT):
    """One matrix over the flattened pixels for each output; only the first input is used."""
    width = int(np.prod([3, 112, 112] if None in shape[1:] else shape[1:]))
    nodes = [helper.make_node("Cast", [inputs[0]], ["cast"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("Flatten", ["cast"], ["flat"], axis=1))
    arrays = []
    for seed, output in enumerate(outputs):
        kernel = np.random.default_rng(seed).normal(0, width**-0.5, (width, 4)).astype(np.float32)
        arrays.append(numpy_helper.from_array(kernel, f"w{seed}"))
        nodes.append(helper.make_node("MatMul", ["flat", f"w{seed}"], [output]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, dtype, shape) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in outputs],
        arrays,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return str(path)


def test_size_is_that_of_the_input(tmp_path):
    path = _linear_onnx(tmp_path / "m.onnx", ["n", 3, 80, 80])
    expected = _by_onnxruntime(path, _pixels(IMAGES, 80), 127.5, 128)
    _assert_close(load_embedder(path, EmbedderOptions()).embed(IMAGES), expected)
    with pytest.raises(
        DataError, match=r"square input of --size pixels. Received: image float32 .*80, 80\], --size 96"
    ):
        load_embedder(path, EmbedderOptions(size=96))


def test_open_axes_need_a_layout_and_may_be_given_a_size(tmp_path):
    path = _linear_onnx(tmp_path / "m.onnx", [None, None, None, None])
    with pytest.raises(DataError, match="--layout nchw or nhwc"):
        load_embedder(path, EmbedderOptions())
    expected = _by_onnxruntime(path, _pixels(IMAGES), 127.5, 128)
    _assert_close(load_embedder(path, EmbedderOptions(layout="nchw")).embed(IMAGES), expected)


def test_a_network_that_takes_no_such_image_is_refused_at_once(tmp_path):
    path = _linear_onnx(tmp_path / "m.onnx", [None, None, None, None])
    with pytest.raises(DataError, match=r"m\.onnx: expected a network that takes images\. Received: .*MatMul"):
        load_embedder(path, EmbedderOptions(layout="nchw", size=96))


def test_a_layout_that_the_shape_contradicts_is_refused(mbf):
    with pytest.raises(DataError, match="--layout nchw or nhwc for input data .* Received: nhwc"):
        load_embedder(mbf, EmbedderOptions(layout="nhwc"))


def test_outputs_are_listed_and_chosen_by_name(tmp_path):
    path = _linear_onnx(tmp_path / "m.onnx", ["n", 3, 112, 112], outputs=("a", "b"))
    with pytest.raises(DataError, match=r"--node to name one. Received: none named, of a float32 \[\?, 4\], b"):
        load_embedder(path, EmbedderOptions())
    with pytest.raises(DataError, match="--node to name one. Received: c, of a"):
        load_embedder(path, EmbedderOptions(output="c"))
    a, b = (load_embedder(path, EmbedderOptions(output=name)).embed(IMAGES)[0] for name in "ab")
    assert np.abs(a - b).max() > 0.1
    _assert_close([a], _by_onnxruntime(path, _pixels(IMAGES), 127.5, 128)[:1])


def test_inputs_are_listed_where_none_fits(tmp_path):
    two = _linear_onnx(tmp_path / "two.onnx", ["n", 3, 112, 112], inputs=("image", "other"))
    with pytest.raises(DataError, match="expected a network with one input, an image. Received: image .*, other"):
        load_embedder(two, EmbedderOptions())
    wide = _linear_onnx(tmp_path / "wide.onnx", ["n", 512, 7, 7])
    with pytest.raises(
        DataError, match=r"--input to name one. Received: none named, of image float32 \[\?, 512, 7, 7\]"
    ):
        load_embedder(wide, EmbedderOptions())


def test_whole_numbers_are_fed_as_they_are(tmp_path):
    path = _linear_onnx(tmp_path / "m.onnx", ["n", 3, 112, 112], dtype=TensorProto.UINT8)
    with pytest.raises(DataError, match="expected --mean 0 --scale 1. Received: --mean 127.5 --scale 128"):
        load_embedder(path, EmbedderOptions())
    raw, _ = load_embedder(path, EmbedderOptions(pixels=PixelFormat(mean=0, scale=1))).embed(IMAGES)
    kernel = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    expected = _pixels(IMAGES).transpose(0, 3, 1, 2).reshape(5, -1).astype(np.float32) @ kernel
    assert_close(raw, expected)


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"m\.onnx: expected an ONNX model"):
        load_embedder(str(tmp_path / "m.onnx"), EmbedderOptions())
    (tmp_path / "m.params").write_bytes(b"x")
    with pytest.raises(DataError, match=r"m\.params: expected a SavedModel's folder or a file \*\.onnx"):
        load_embedder(str(tmp_path / "m.params"), EmbedderOptions())


def test_an_onnx_file_has_no_signatures(mbf):
    with pytest.raises(DataError, match="no signatures. Received: --signature serve"):
        load_embedder(mbf, EmbedderOptions(signature="serve"))


class _Plain(tf.Module):
    """A backbone behind signatures of float pixels, as other projects save theirs."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    @tf.function(input_signature=[tf.TensorSpec([None, 112, 112, 3], tf.float32, name="pixels")])
    def nhwc(self, pixels):
        return {"features": self.backbone(pixels, training=False)}

    @tf.function(input_signature=[tf.TensorSpec([None, 3, 112, 112], tf.float32, name="pixels")])
    def nchw(self, pixels):
        return {"features": self.backbone(tf.transpose(pixels, (0, 2, 3, 1)), training=False)}

    @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, name="x")])
    def other(self, x):
        return {"y": x}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One backbone as our export and as a plain SavedModel without a default signature."""
    folder = tmp_path_factory.mktemp("saved")
    backbone = backbones.build("iresnet_tiny", embedding_dim=16)
    metadata = ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {})
    export.export_saved_model(backbone, str(folder / "ours"), metadata)
    plain = _Plain(backbone)
    signatures = {"nhwc": plain.nhwc, "nchw": plain.nchw, "other": plain.other}
    tf.saved_model.save(plain, str(folder / "plain"), signatures=signatures)
    tf.saved_model.save(plain, str(folder / "default"), signatures={"serving_default": plain.nchw, "nhwc": plain.nhwc})
    return folder


def test_a_plain_saved_model_gives_what_our_signature_gives(saved):
    ours = load_embedder(str(saved / "ours"), EmbedderOptions())
    assert isinstance(ours, PairEmbedder)
    expected = ours.embed(IMAGES)
    for signature in ("nhwc", "nchw"):
        plain = load_embedder(str(saved / "plain"), EmbedderOptions(signature=signature))
        assert isinstance(plain, ForeignEmbedder)
        _assert_close(plain.embed(IMAGES), expected)
    _assert_close(load_embedder(str(saved / "default"), EmbedderOptions()).embed(IMAGES), expected)


def test_bgr_exchanges_the_colours_of_ours_too(saved):
    options = EmbedderOptions(pixels=PixelFormat("bgr"))
    exchanged = load_embedder(str(saved / "ours"), options).embed(IMAGES)
    plain = load_embedder(str(saved / "default"), options).embed(IMAGES)
    _assert_close(exchanged, plain)
    straight = load_embedder(str(saved / "ours"), EmbedderOptions()).embed(IMAGES)
    assert np.abs(straight[0] - exchanged[0]).max() > 1e-3


def test_signatures_are_listed(saved):
    with pytest.raises(DataError, match=r"--signature to name one.* Received: none named, of nchw \(pixels float32"):
        load_embedder(str(saved / "plain"), EmbedderOptions())
    with pytest.raises(DataError, match="Received: nothing, of nchw"):
        load_embedder(str(saved / "plain"), EmbedderOptions(signature="nothing"))
    with pytest.raises(DataError, match=r"--input to name one. Received: none named, of x float32 \[\?, 8\]"):
        load_embedder(str(saved / "plain"), EmbedderOptions(signature="other"))
