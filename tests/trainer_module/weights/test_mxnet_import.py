"""MXNet's files into our backbones: the embeddings are MXNet's own, old symbols read, mistakes named."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from arcface_common.features import PixelFormat
from tests.trainer_module.weights.mxnet_files import write_params
from trainer_module import backbones
from trainer_module.data import images
from trainer_module.weights.graph import WeightImportError
from trainer_module.weights.import_mxnet import import_mxnet
from trainer_module.weights.mxnet_params import read_params

NETWORKS = Path(__file__).with_name("mxnet_networks.py")


def by_mxnet(python: Path, network: str, folder: Path) -> Path:
    """Lets MXNet write a network; returns the prefix."""
    prefix = folder / network
    environment = os.environ | {"MXNET_SUBGRAPH_BACKEND": "NONE", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [str(python), str(NETWORKS), network, str(prefix)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return prefix


def embed(imported, pixels: np.ndarray) -> np.ndarray:
    inputs = images.to_input(tf.constant(pixels), imported.pixel_format)
    return imported.backbone(inputs, training=False).numpy()


def relative_error(prefix: Path, imported) -> float:
    with np.load(f"{prefix}.npz") as reference:
        expected = reference["embedding"]
        return float(abs(embed(imported, reference["pixels"]) - expected).max() / abs(expected).max())


@pytest.fixture(scope="module")
def small(mxnet_python, tmp_path_factory):
    """MobileFaceNet by MXNet: the prefix."""
    return by_mxnet(mxnet_python, "mobilefacenet", tmp_path_factory.mktemp("mobilefacenet"))


@pytest.fixture
def copy(small, tmp_path):
    """A copy of it that a test may spoil: the prefix."""
    for suffix in ("-symbol.json", "-0000.params", ".npz"):
        shutil.copy(f"{small}{suffix}", tmp_path)
    return tmp_path / small.name


def edit_symbol(prefix: Path, change) -> None:
    path = Path(f"{prefix}-symbol.json")
    symbol = json.loads(path.read_text())
    change(symbol)
    path.write_text(json.dumps(symbol))


def edit_params(prefix: Path, change) -> None:
    path = Path(f"{prefix}-0000.params")
    arrays = dict(read_params(path))
    change(arrays)
    write_params(path, arrays, 2)


def node(symbol: dict, name: str) -> dict:
    return next(entry for entry in symbol["nodes"] if entry["name"] == name)


@pytest.mark.parametrize(
    "network",
    [
        "iresnet18",
        "iresnet34",
        pytest.param("iresnet50", marks=pytest.mark.slow),
        pytest.param("iresnet100", marks=pytest.mark.slow),
    ],
)
def test_iresnets_embed_as_mxnet_does(network, mxnet_python, tmp_path):
    prefix = by_mxnet(mxnet_python, network, tmp_path)
    imported = import_mxnet(prefix, 0)
    assert (imported.name, imported.embedding_dim) == (network, 512)
    assert imported.pixel_format == PixelFormat("rgb", 127.5, 128.0)
    assert imported.options["epsilon"] == imported.options["output_epsilon"] == 2e-5
    assert relative_error(prefix, imported) < 1e-4


def test_mobilefacenet_embeds_as_mxnet_does(small):
    imported = import_mxnet(small, 0)
    assert (imported.name, imported.embedding_dim) == ("mobilefacenet", 128)
    assert (imported.options["epsilon"], imported.options["output_epsilon"]) == (1e-3, 2e-5)  # MXNet's default, given
    assert relative_error(small, imported) < 1e-4
    # The same options build the same network, and survive JSON.
    rebuilt = backbones.build(imported.name, **json.loads(json.dumps(imported.options)))
    rebuilt.set_weights(imported.backbone.get_weights())
    assert rebuilt.count_params() == imported.backbone.count_params()


def test_the_report_accounts_for_every_array_and_variable(small):
    imported = import_mxnet(small, 0)
    assert {mapped.source for mapped in imported.mapping} == set(read_params(f"{small}-0000.params"))
    targets = {mapped.target for mapped in imported.mapping if mapped.target}
    assert targets == {weight.name for weight in imported.backbone.weights}
    report = imported.report()
    assert "arg:conv_1_conv2d_weight [64, 3, 3, 3] -> stem_conv/kernel:0 [3, 3, 3, 64]" in report
    assert "arg:fc1_gamma [128] -> (nothing)  [fixed at 1]" in report


def test_names_do_not_matter(copy):
    """The structure says what an array is: renamed throughout, the embeddings stay."""
    renamed = {}

    def rename_symbol(symbol):
        for index, entry in enumerate(symbol["nodes"]):
            if entry["name"] != "data":
                renamed[entry["name"]] = f"x{index}"
                entry["name"] = f"x{index}"

    def rename_arrays(arrays):
        for key in list(arrays):
            kind, _, name = key.partition(":")
            arrays[f"{kind}:{renamed[name]}"] = arrays.pop(key)

    edit_symbol(copy, rename_symbol)
    edit_params(copy, rename_arrays)
    assert relative_error(copy, import_mxnet(copy, 0)) < 1e-4


def test_an_old_symbol(copy):
    """Before MXNet 0.9: "param" for attributes, moving statistics are no inputs, other names of scalar operators."""

    def age(symbol):
        for entry in symbol["nodes"]:
            entry["param"] = entry.pop("attrs", {})
            entry["attr"] = {"__lr_mult__": "1.0"}
            entry["op"] = {"_minus_scalar": "_MinusScalar", "_mul_scalar": "_MulScalar", "elemwise_add": "_Plus"}.get(
                entry["op"], entry["op"]
            )
            if entry["op"] == "BatchNorm":
                entry["inputs"] = entry["inputs"][:3]

    edit_symbol(copy, age)
    assert relative_error(copy, import_mxnet(copy, 0)) < 1e-4


def test_scalars_give_the_pixel_format(copy):
    def change(symbol):
        for entry in symbol["nodes"]:
            if entry["op"] == "_minus_scalar":
                entry["op"], entry["attrs"] = "_PlusScalar", {"scalar": "-100"}
            if entry["op"] == "_mul_scalar":
                entry["op"], entry["attrs"] = "_div_scalar", {"scalar": "50"}

    edit_symbol(copy, change)
    assert import_mxnet(copy, 0).pixel_format == PixelFormat("rgb", 100.0, 50.0)
    assert import_mxnet(copy, 0, pixel_format=PixelFormat("bgr")).pixel_format == PixelFormat("bgr")


def test_a_huge_symbol_is_refused_before_it_is_read(copy):
    os.truncate(f"{copy}-symbol.json", 3 << 30)
    with pytest.raises(WeightImportError, match=r"symbol\.json: expected at most 16,777,216 bytes. Received: 3,22"):
        import_mxnet(copy, 0)


def test_a_missing_fix_gamma_means_true(copy):
    def change(symbol):
        del node(symbol, "conv_1_batchnorm")["attrs"]["fix_gamma"]

    edit_symbol(copy, change)
    imported = import_mxnet(copy, 0)
    np.testing.assert_array_equal(imported.backbone.get_layer("stem_bn").gamma, 1)
    assert "arg:conv_1_batchnorm_gamma [64] -> stem_bn/gamma:0 [64]  [fixed at 1]" in imported.report()


def test_a_learned_last_gamma_is_kept(copy):
    edit_symbol(copy, lambda symbol: node(symbol, "fc1")["attrs"].update(fix_gamma="False"))
    imported = import_mxnet(copy, 0)
    assert imported.options["output_gamma"]
    expected = read_params(f"{copy}-0000.params")["arg:fc1_gamma"]
    np.testing.assert_array_equal(imported.backbone.get_layer("embedding").gamma, expected)


def test_a_training_checkpoint_is_cut(copy):
    def add_head(symbol):
        end = len(symbol["nodes"])
        symbol["nodes"] += [
            {"op": "null", "name": "fc7_weight", "inputs": []},
            {"op": "SoftmaxOutput", "name": "softmax", "inputs": [[end - 1, 0, 0], [end, 0, 0]]},
        ]
        symbol["heads"] = [[end + 1, 0, 0]]

    edit_symbol(copy, add_head)
    edit_params(copy, lambda arrays: arrays.update({"arg:fc7_weight": np.zeros((10, 128), np.float32)}))
    with pytest.raises(WeightImportError, match="Received: SoftmaxOutput softmax"):
        import_mxnet(copy, 0)
    assert relative_error(copy, import_mxnet(copy, 0, output="fc1")) < 1e-4
    with pytest.raises(WeightImportError, match="'fc9' to end at"):
        import_mxnet(copy, 0, output="fc9")
    with pytest.raises(WeightImportError, match="Received: the array 'fc1_beta'"):
        import_mxnet(copy, 0, output="fc1_beta")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update({"arg:other": np.ones(3, np.float32)}), "Received: left over arg:other"),
        (lambda a: a.pop("aux:fc1_moving_var"), "fc1: expected an array 'aux:fc1_moving_var'"),
        (
            lambda a: a.update({"arg:conv_1_conv2d_weight": np.ones((64, 3, 5, 5), np.float32)}),
            r"stem_conv.*\[3, 3, 3, 64\].*Received: arg:conv_1_conv2d_weight of shape \[64, 3, 5, 5\]",
        ),
        (
            lambda a: a.update({"arg:conv_1_relu_gamma": np.ones(1, np.float32)}),
            r"stem_prelu.*Received: arg:conv_1_relu_gamma of shape \[1\]",
        ),
        (
            lambda a: a.update({"arg:pre_fc1_weight": np.ones((128, 512 * 4), np.float32)}),
            r"pre_fc1: mobilefacenet needs a weight of \[D, 512\]\. Received: arg:pre_fc1_weight \[128, 2048\]",
        ),
        (
            lambda a: a.update({"arg:pre_fc1_weight": np.ones(512, np.float32)}),
            r"pre_fc1: its weight must have 2 dim.*arg:pre_fc1_weight \[512\]",
        ),
    ],
)
def test_spoiled_arrays_are_named(copy, change, message):
    edit_params(copy, change)
    with pytest.raises(WeightImportError, match=message):
        import_mxnet(copy, 0)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("conv_1_relu", {"op": "Activation"}, "Received: Activation conv_1_relu"),
        ("conv_1_relu", {"attrs": {"act_type": "leaky"}}, "act_type must be 'prelu'. Received: 'leaky'"),
        ("conv_1_batchnorm", {"eps": "0.5"}, "share one epsilon, 0.5 .*Received: 0.001 of conv_2_dw_batchnorm"),
        ("conv_1_conv2d", {"stride": "(1, 1)"}, r"stem_conv: expected .*'stride': 2.*Received: .*conv_1_conv2d"),
        ("conv_1_conv2d", {"stride": "(1, 2)"}, r"conv_1_conv2d: stride must be .*Received: \(1, 2\)"),
        ("conv_1_conv2d", {"pad": "(0, 0)"}, r"stem_conv: expected .*'pad': 1.*Received: .*'pad': 0"),
        ("conv_1_conv2d", {"dilate": "(2, 2)"}, r"dilate must be \(1, 1\). Received: \(2, 2\)"),
        ("conv_1_conv2d", {"no_bias": "False"}, "conv_1_conv2d: expected an input for its bias"),
        ("pre_fc1", {"flatten": "False"}, "pre_fc1: flatten must be True"),
    ],
)
def test_another_structure_is_named(copy, name, changes, message):
    def change(symbol):
        entry = node(symbol, name)
        if "op" in changes or "attrs" in changes:
            entry.update(changes)
        else:
            entry["attrs"].update(changes)

    edit_symbol(copy, change)
    with pytest.raises(WeightImportError, match=message):
        import_mxnet(copy, 0)


def test_an_unknown_depth_is_named(mxnet_python, tmp_path):
    prefix = by_mxnet(mxnet_python, "iresnet18", tmp_path)

    def shorten(symbol):
        """Lets the last unit's addition take the input twice: one unit less."""
        adds = [index for index, entry in enumerate(symbol["nodes"]) if entry["op"] == "elemwise_add"]
        end = next(e for e in symbol["nodes"] if e["name"] == "bn1")
        end["inputs"][0] = [adds[-2], 0, 0]

    edit_symbol(prefix, shorten)
    with pytest.raises(WeightImportError, match=r"iresnet18 \(2, 2, 2, 2\).*Received: stages of \(2, 2, 2, 1\)"):
        import_mxnet(prefix, 0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nodes": [{}], "heads": []}', '{"nodes": [], "heads": [[0]]}'])
def test_no_symbol(copy, text):
    Path(f"{copy}-symbol.json").write_text(text)
    with pytest.raises(WeightImportError, match=r"symbol\.json: expected MXNet's symbol.*Received: "):
        import_mxnet(copy, 0)
