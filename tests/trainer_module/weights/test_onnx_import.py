"""ONNX files into our backbones: the embeddings are onnxruntime's, batch norms folded or not, mistakes named."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from arcface_common.features import PixelFormat
from tests.trainer_module.weights import onnx_networks
from trainer_module.weights import structure
from trainer_module.weights.graph import WeightImportError
from trainer_module.weights.import_onnx import ARCFACE_TORCH_PIXELS, import_onnx

IMAGES = np.random.default_rng(3).uniform(-1, 1, (2, 3, 112, 112)).astype(np.float32)


def check(model: onnx.ModelProto, path, images: np.ndarray = IMAGES, **options):
    """Writes the file, imports it, compares two embeddings with onnxruntime's; returns what was imported."""
    onnx.save(model, path)
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(path), session_options, providers=["CPUExecutionProvider"])
    imported = import_onnx(path, **options)
    (expected,) = session.run([options["output"]] if options else None, {"data": images})
    found = imported.backbone(images.transpose(0, 2, 3, 1), training=False).numpy()
    assert abs(found - expected).max() / abs(expected).max() < 1e-4
    return imported


@pytest.mark.parametrize(("folded", "newer"), [(False, False), (True, False), (True, True)])
def test_iresnet_embeds_as_onnxruntime_does(folded, newer, tmp_path):
    imported = check(onnx_networks.iresnet18(folded, newer), tmp_path / "r18.onnx")
    assert (imported.name, imported.embedding_dim) == ("iresnet18", 512)
    assert imported.pixel_format == ARCFACE_TORCH_PIXELS == PixelFormat("rgb", 127.5, 127.5)
    assert imported.options["epsilon"] == 1e-5
    targets = {mapped.target for mapped in imported.mapping}
    assert targets >= {weight.name for weight in imported.backbone.weights}


@pytest.mark.parametrize(("folded", "newer"), [(False, False), (True, False), (True, True)])
def test_mbf_embeds_as_onnxruntime_does(folded, newer, tmp_path):
    imported = check(onnx_networks.mobilefacenet(folded, newer), tmp_path / "mbf.onnx")
    assert (imported.name, imported.embedding_dim) == ("mobilefacenet_mbf", 512)


def test_other_depths_and_widths_of_mobilefacenet(tmp_path):
    model = onnx_networks.mobilefacenet(True, blocks=(2, 1, 2, 0), scale=1, dim=64)
    imported = check(model, tmp_path / "mbf.onnx")
    assert (imported.name, imported.embedding_dim) == ("mobilefacenet", 64)
    assert (imported.options["stem_residuals"], imported.options["residuals"]) == (2, [1, 2, 0])


def test_a_folded_norm_is_exact(tmp_path):
    """Gamma 1, mean 0 and variance 1 - epsilon leave x + beta to the last bit."""
    imported = check(onnx_networks.mobilefacenet(True), tmp_path / "mbf.onnx")
    layer = imported.backbone.get_layer("stem_bn")
    np.testing.assert_array_equal(layer.moving_variance + np.float32(layer.epsilon), np.float32(1))
    np.testing.assert_array_equal(layer.gamma, 1)
    np.testing.assert_array_equal(layer.moving_mean, 0)
    assert "folded" in imported.report()


def test_a_dropped_bias_of_zeros(tmp_path):
    """The newer exporter leaves a folded bias out where it is zero."""
    model = onnx_networks.mobilefacenet(True)
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    del conv.input[2]
    imported_bias = {tensor.name for tensor in model.graph.initializer} - {
        name for node in model.graph.node for name in node.input
    }
    arrays = [tensor for tensor in model.graph.initializer if tensor.name not in imported_bias]
    del model.graph.initializer[:]
    model.graph.initializer.extend(arrays)
    imported = check(model, tmp_path / "mbf.onnx")
    np.testing.assert_array_equal(imported.backbone.get_layer("stem_bn").beta, 0)


def test_equal_arrays_may_be_shared(tmp_path):
    model = onnx_networks.mobilefacenet(False)
    onnx_networks.share_equal_arrays(model)
    check(model, tmp_path / "mbf.onnx")


def test_external_data(tmp_path):
    model = onnx_networks.mobilefacenet(True)
    onnx.save(model, tmp_path / "mbf.onnx", save_as_external_data=True, location="mbf.data", size_threshold=0)
    assert import_onnx(tmp_path / "mbf.onnx").name == "mobilefacenet_mbf"
    (tmp_path / "mbf.data").unlink()
    with pytest.raises(
        WeightImportError, match=r"mbf\.onnx: tensor 'w0': expected external data .*'mbf\.data', which isn't there"
    ):
        import_onnx(tmp_path / "mbf.onnx")


def test_half_precision(tmp_path):
    model = onnx_networks.mobilefacenet(True)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
    onnx.save(model, tmp_path / "half.onnx")
    kernel = import_onnx(tmp_path / "half.onnx").backbone.get_layer("stem_conv").kernel
    expected = numpy_helper.to_array(model.graph.initializer[0]).transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)


@pytest.mark.parametrize("swapped", [False, True])
def test_scalars_before_the_network_give_the_pixel_format(swapped, tmp_path):
    """MXNet's exporter keeps the normalisation in the graph: raw pixels go in."""
    to = onnx_networks.Exporter(folded=True)
    x = to.node("Sub", "data", to.array(127.5))
    factor = to.array([0.0078125])
    x = to.node("Mul", factor, x) if swapped else to.node("Mul", x, factor)
    onnx.save(onnx_networks.iresnet18_of(x, to), tmp_path / "r18.onnx")
    imported = import_onnx(tmp_path / "r18.onnx")
    assert imported.pixel_format == PixelFormat("rgb", 127.5, 128.0)
    pixel_format = PixelFormat("bgr", 1, 2)
    assert import_onnx(tmp_path / "r18.onnx", pixel_format=pixel_format).pixel_format == pixel_format


def test_a_bias_after_matmul(tmp_path):
    """Gemm written as MatMul and Add, in either order of operands."""
    model = onnx_networks.iresnet18(True)
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    x, kernel, bias = gemm.input
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == kernel)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).T.copy(), kernel))
    at = list(model.graph.node).index(gemm)
    output = gemm.output[0]
    del model.graph.node[at]
    model.graph.node.insert(at, helper.make_node("MatMul", [x, kernel], ["product"]))
    model.graph.node.insert(at + 1, helper.make_node("Add", [bias, "product"], [output]))
    check(model, tmp_path / "r18.onnx")


def test_a_classifier_behind_the_embedding_is_cut(tmp_path):
    model = onnx_networks.mobilefacenet(True)
    embedding = model.graph.output[0].name
    model.graph.initializer.append(numpy_helper.from_array(np.ones((512, 10), np.float32), "classes"))
    model.graph.node.append(helper.make_node("MatMul", [embedding, "classes"], ["logits"]))
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["probabilities"]))
    model.graph.output.append(helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["N", 10]))
    imported = check(model, tmp_path / "mbf.onnx", output=embedding)
    assert imported.embedding_dim == 512
    with pytest.raises(WeightImportError, match="one embedding out. Received: .*'probabilities'"):
        import_onnx(tmp_path / "mbf.onnx")
    with pytest.raises(WeightImportError, match="'nothing' to end at"):
        import_onnx(tmp_path / "mbf.onnx", output="nothing")


def first(model: onnx.ModelProto, op: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == op)


def spoil_operator(model):
    first(model, "PRelu").op_type = "Relu"


def spoil_attribute(model, op, name, value):
    node = first(model, op)
    for attribute in [attribute for attribute in node.attribute if attribute.name == name]:
        node.attribute.remove(attribute)
    node.attribute.append(helper.make_attribute(name, value))


def spoil_array(model, values):
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, model.graph.initializer[0].name))


def add_array(model):
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "orphan"))


def share_slopes(model):
    """One slope for all channels: another network than one slope a channel."""
    name = first(model, "PRelu").input[1]
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.ones((1, 1, 1), np.float32), name))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_operator, "Relu v1: operators must be among Conv, .*Received: Relu"),
        (lambda m: spoil_attribute(m, "Conv", "strides", [1, 2]), r"Conv v0: strides must .*Received: \[1, 2\]"),
        (lambda m: spoil_attribute(m, "Conv", "pads", [0, 0, 1, 1]), r"pads must be .*Received: \[0, 0, 1, 1\]"),
        (lambda m: spoil_attribute(m, "Conv", "pads", [0, 0, 0, 0]), "stem_conv: expected .*'pad': 1.*Conv v0"),
        (lambda m: spoil_attribute(m, "Conv", "dilations", [2, 2]), r"dilations must be .*Received: \[2, 2\]"),
        (lambda m: spoil_attribute(m, "Conv", "auto_pad", "SAME_UPPER"), "auto_pad must be .*SAME_UPPER"),
        (lambda m: spoil_attribute(m, "BatchNormalization", "training_mode", 1), "training_mode must be 0"),
        (lambda m: spoil_attribute(m, "Gemm", "transA", 1), "transA must be 0. Received: 1"),
        (lambda m: spoil_attribute(m, "Gemm", "alpha", 2.0), "alpha must be 1.0. Received: 2.0"),
        (lambda m: spoil_attribute(m, "Flatten", "axis", 2), "axis must be 1. Received: 2"),
        (
            lambda m: spoil_array(m, np.ones((64, 3, 5, 5), np.float32)),
            r"stem_conv/kernel.*w0 of shape \[64, 3, 5, 5\]",
        ),
        (lambda m: spoil_array(m, np.ones((64, 3), np.float32)), r"Conv v0: its weight must have 4 .*w0 \[64, 3\]"),
        (share_slopes, r"stem_prelu/alpha.*Received: w2 of shape \[1, 1, 1\]"),
        (add_array, "Received: left over orphan"),
        (lambda m: m.graph.node.remove(first(m, "Add")), "input 0 must be the image or a layer's output. Received: 'v"),
        (lambda m: m.graph.input.append(m.graph.output[0]), r"expected one image in .*Received: in \['data', "),
    ],
)
def test_mistakes_are_named(spoil, message, tmp_path):
    model = onnx_networks.iresnet18(True)
    spoil(model)
    onnx.save(model, tmp_path / "r18.onnx")
    with pytest.raises(WeightImportError, match=message):
        import_onnx(tmp_path / "r18.onnx")


def test_a_grouped_kernel_of_another_shape(tmp_path):
    model = onnx_networks.mobilefacenet(True)
    second = [node for node in model.graph.node if node.op_type == "Conv"][1]
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == second.input[1])
    tensor.CopyFrom(numpy_helper.from_array(np.ones((64, 2, 3, 3), np.float32), tensor.name))
    onnx.save(model, tmp_path / "mbf.onnx")
    with pytest.raises(WeightImportError, match=r"Conv .*take 64 channels in 1 groups.* \[128, 128, 1, 1\]"):
        import_onnx(tmp_path / "mbf.onnx")


def test_no_mobilefacenet(tmp_path):
    to = onnx_networks.Exporter(folded=True)
    x = to.conv_norm("data", 3, 64, 3, 2)
    x = to.conv_norm(x, 64, 64, 3, 1, groups=64)
    output = to.output(to.flatten_view(x), 64 * 56 * 56, 2, bias=True, gamma=True)
    onnx.save(to.model(output, 2), tmp_path / "x.onnx")
    with pytest.raises(WeightImportError, match=r"a MobileFaceNet has a stem.*Received: convolutions of \[3, 3\]"):
        import_onnx(tmp_path / "x.onnx")


def test_no_onnx(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"\xffno model")
    with pytest.raises(WeightImportError, match="expected an ONNX model"):
        import_onnx(tmp_path / "x.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(WeightImportError, match="one image in"):
        import_onnx(tmp_path / "empty.onnx")
    with pytest.raises(FileNotFoundError, match=r"absent\.onnx"):
        import_onnx(tmp_path / "absent.onnx")


@pytest.mark.parametrize("network", [onnx_networks.iresnet18, onnx_networks.mobilefacenet])
@pytest.mark.parametrize("shape", [(100_000, 0), (100_000, 1)])
def test_a_wide_embedding_without_its_values_takes_no_memory(network, shape, tmp_path, monkeypatch):
    model = network(True)
    name = [node for node in model.graph.node if node.op_type in ("Gemm", "MatMul")][-1].input[1]
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    shape = shape if network is onnx_networks.iresnet18 else shape[::-1]
    tensor.CopyFrom(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    onnx.save(model, tmp_path / "wide.onnx")
    monkeypatch.setattr(structure.backbones, "build", lambda *_, **__: pytest.fail("built before it was checked"))
    with pytest.raises(WeightImportError, match="must hold values|needs a weight of|must take"):
        import_onnx(tmp_path / "wide.onnx")


@pytest.mark.parametrize("shape", [(4096, 1, 1, 1), (4096, 128, 1, 1)])
def test_a_wide_bottleneck_does_not_widen_the_others(shape, tmp_path, monkeypatch):
    model = onnx_networks.mobilefacenet(True)
    # The second bottleneck of the first stage, whose filters all others of the stage are built with.
    name = [node for node in model.graph.node if node.op_type == "Conv"][5].input[1]
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    onnx.save(model, tmp_path / "wide.onnx")
    monkeypatch.setattr(structure.backbones, "build", lambda *_, **__: pytest.fail("built before it was checked"))
    with pytest.raises(WeightImportError, match="its weight must take .* channels in .* groups"):
        import_onnx(tmp_path / "wide.onnx")


def test_bottlenecks_of_a_stage_that_differ(tmp_path):
    model = onnx_networks.mobilefacenet(True)
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    # The third bottleneck of the first stage gets half as many filters inside, consistently.
    for conv, axis in zip(convs[8:11], ((0,), (0,), (1,)), strict=True):
        for name in conv.input[1:2] if axis == (1,) else conv.input[1:]:
            values = numpy_helper.to_array(arrays[name])
            arrays[name].CopyFrom(numpy_helper.from_array(np.take(values, range(64), axis=axis[0]), name))
    groups = next(attribute for attribute in convs[9].attribute if attribute.name == "group")
    groups.i = 64
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(
        WeightImportError, match=r"a bottleneck's filters must be .*\[128, 128, 128\]\. Received: \[64, 64"
    ):
        import_onnx(tmp_path / "odd.onnx")
