"""Backbones: sizes as published, shapes, padding, every normalisation, saving, and a user's own function."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.closeness import assert_close
from trainer_module import backbones, normalization
from trainer_module.backbones import layers, summary

# Trained parameters without the last gamma, which is fixed at 1. The numbers before "-" are PyTorch's count (numel of
# all parameters, that gamma too) of the same structure as arcface_torch's iresnet and mbf. y1: the argument arrays of
# InsightFace's own model-0000.params hold 1,003,264 values, the auxiliary ones 19,584.
PARAMETERS = {
    "iresnet18": 24_025_600 - 512,
    "iresnet34": 34_139_328 - 512,
    "iresnet50": 43_590_848 - 512,
    "iresnet100": 65_156_160 - 512,
    "mobilefacenet": 1_003_264 - 128,
    "mobilefacenet_mbf": 2_059_520,
}
# MParams and GFLOPs (two for each multiply-accumulate) that Intel's Open Model Zoo publishes for InsightFace's
# LResNet34E-IR, LResNet50E-IR, LResNet100E-IR and MobileFaceNet, with batch norms folded into the convolutions.
OPEN_MODEL_ZOO = {
    "iresnet34": (34.129, 8.934),
    "iresnet50": (43.576, 12.637),
    "iresnet100": (65.132, 24.2115),
    "mobilefacenet": (0.993, 0.449),
}


def images(count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 112, 112, 3)).astype(np.float32)


def shake(model: tf_keras.Model) -> None:
    """Gives every weight a value of its own, so that a lost or swapped one shows."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(weight + random.uniform(0.01, 0.1, weight.shape).astype(np.float32))


@pytest.mark.parametrize("name", PARAMETERS)
def test_sizes_are_the_published_ones(name):
    model = backbones.build(name)
    found = summary.summarize(model)
    assert found.parameters == PARAMETERS[name]
    assert model.output_shape == (None, backbones.spec(name).embedding_dim)
    if name in OPEN_MODEL_ZOO:
        mparams, gflops = OPEN_MODEL_ZOO[name]
        # Folding removes a gamma a channel (1 % of MobileFaceNet); their FLOPs add PReLU and additions (1.6 % of it).
        assert found.parameters / 1e6 == pytest.approx(mparams, rel=0.011)
        assert 2 * found.macs / 1e9 == pytest.approx(gflops, rel=0.017)


def test_mobilefacenet_has_the_statistics_of_y1():
    assert summary.summarize(backbones.build("mobilefacenet")).statistics == 19_584


def test_layers_have_structural_names():
    names = {layer.name for layer in backbones.build("iresnet18").layers}
    assert {"stem_conv", "stage2_unit1_conv1", "stage2_unit1_shortcut_bn", "output_fc", "embedding"} <= names


@pytest.mark.parametrize("name", ["iresnet_tiny", "mobilefacenet", "mobilefacenet_mbf"])
def test_save_and_load(name, tmp_path):
    model = backbones.build(name, dropout=0.1)
    shake(model)
    expected = model(images(), training=False).numpy()
    model.save(tmp_path / "model.keras")
    restored = tf_keras.models.load_model(tmp_path / "model.keras")
    assert restored.get_config() == model.get_config()
    assert_close(restored(images(), training=False), expected)


@pytest.mark.parametrize("norm", normalization.NAMES)
def test_every_normalisation_trains_and_restores(norm, tmp_path):
    model = backbones.build("iresnet_tiny", norm=norm)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(images(4), training=True)[:, 0] ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
    expected = model(images(), training=False).numpy()
    model.save(tmp_path / "model.keras")
    restored = tf_keras.models.load_model(tmp_path / "model.keras")
    assert_close(restored(images(), training=False), expected)


def test_group_norm_takes_16_channels_a_group_and_an_embedding_as_one():
    model = backbones.build("iresnet_tiny", norm="group")
    groups = {name: model.get_layer(name).groups for name in ("stem_bn", "output_bn", "embedding")}
    assert groups == {"stem_bn": 1, "output_bn": 8, "embedding": 1}


def test_mixed_bfloat16_keeps_the_embedding_float32():
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        models = [backbones.build(name) for name in ("iresnet_tiny", "mobilefacenet_mbf")]
        embeddings = [model(images(), training=False) for model in models]
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
    assert [model.get_layer("stem_conv").compute_dtype for model in models] == ["bfloat16"] * 2
    assert all(embedding.dtype == tf.float32 and np.isfinite(embedding).all() for embedding in embeddings)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("norm", normalization.NAMES)
def test_each_norm_computes_in_16_bits(norm, precision):
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy(precision)
    try:
        layer = normalization.create(norm, channels=32, name="norm", epsilon=1e-3, momentum=0.9)
        values = np.random.default_rng(0).normal(3, 2, (8, 4, 4, 32)).astype(np.float32)
        found = layer(values, training=True)
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
    assert found.dtype == layer.compute_dtype
    np.testing.assert_allclose(tf.reduce_mean(tf.cast(found, tf.float32)), 0, atol=0.01)
    np.testing.assert_allclose(tf.math.reduce_std(tf.cast(found, tf.float32)), 1, rtol=0.02)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_prelu_is_keras_own_with_its_gradient(dtype):
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(2, 5, 6, 3)), dtype)  # none is 0, where the gradients differ
    upstream = tf.constant(random.normal(size=(2, 5, 6, 3)), dtype)
    found = []
    for kind in (layers.PReLU, tf_keras.layers.PReLU):
        layer = kind(shared_axes=[1, 2], dtype="mixed_float16" if dtype == "float16" else None)
        layer.build(x.shape)
        layer.alpha.assign([[[0.25, 1.5, -0.5]]])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            total = tf.reduce_sum(y * upstream)
        found.append((y, *tape.gradient(total, [x, *layer.trainable_variables]), layer(x, training=False)))
        assert layer(x).dtype == dtype
    ours, keras = ([np.asarray(part, np.float64) for part in of] for of in found)
    assert [part.shape for part in ours] == [(2, 5, 6, 3), (2, 5, 6, 3), (1, 1, 3), (2, 5, 6, 3)]
    np.testing.assert_array_equal(ours[0], keras[0])
    np.testing.assert_array_equal(ours[3], keras[3])
    for mine, theirs in zip(ours[1:3], keras[1:3], strict=True):
        assert_close(mine, theirs, 1e-6 if dtype == "float32" else 5e-3)


def test_batch_renorm_opens_its_limits_slowly():
    layer = normalization.BatchRenormalization(closed_steps=2, rmax=3, rmax_step=4, dmax=5, dmax_step=3)
    seen = []
    for _ in range(5):
        layer(tf.random.normal((8, 4)), training=True)
        seen.append([float(layer.clipping()[key]) for key in ("rmin", "rmax", "dmax")])
    layer(tf.random.normal((8, 4)), training=False)
    assert float(layer.step) == 5
    np.testing.assert_allclose(seen, [[1, 1, 0], [1, 1, 0], [1 / 2, 2, 5], [1 / 3, 3, 5], [1 / 3, 3, 5]], rtol=1e-6)
    restored = normalization.BatchRenormalization.from_config(layer.get_config())
    assert restored.get_config() == layer.get_config()


def test_closed_batch_renorm_is_batch_norm():
    x = tf.random.normal((32, 5), 3, 2, seed=1)
    renorm = normalization.create("batch_renorm", channels=5, name="a", epsilon=1e-3, momentum=0.9)
    batch = normalization.create("batch", channels=5, name="b", epsilon=1e-3, momentum=0.9)
    assert_close(renorm(x, training=True), batch(x, training=True))
    with pytest.raises(ValueError, match="Received: closed_steps=9"):
        normalization.BatchRenormalization(closed_steps=9, rmax_step=5)


@pytest.mark.parametrize("norm", ["batch", "sync_batch"])
def test_momentum_is_the_share_that_moving_statistics_keep(norm):
    """As in MXNet and Keras; PyTorch's momentum is the other share."""
    layer = normalization.create(norm, channels=5, name="n", epsilon=1e-3, momentum=0.7)
    x = np.random.default_rng(0).normal(3, 2, (64, 5)).astype(np.float32)
    layer(x, training=True)
    assert_close(layer.moving_mean, 0.3 * x.mean(0))
    assert_close(layer.moving_variance, 0.7 + 0.3 * x.var(0))
    layer(x, training=False)
    assert_close(layer.moving_mean, 0.3 * x.mean(0))
    assert_close(layer(x), (x - 0.3 * x.mean(0)) / np.sqrt(0.7 + 0.3 * x.var(0) + 1e-3))


def test_batch_renorm_keeps_the_same_share():
    """It averages standard deviations, as Ioffe (2017) does."""
    layer = normalization.create("batch_renorm", channels=5, name="n", epsilon=1e-3, momentum=0.7)
    x = np.random.default_rng(0).normal(3, 2, (64, 5)).astype(np.float32)
    layer(x, training=True)
    for mean, deviation in ((layer.moving_mean, layer.moving_stddev), (layer.renorm_mean, layer.renorm_stddev)):
        assert_close(mean, 0.3 * x.mean(0))
        assert_close(deviation, 0.7 + 0.3 * np.sqrt(x.var(0) + 1e-3))


@pytest.mark.parametrize("name", ["iresnet_tiny", "mobilefacenet"])
def test_networks_keep_nine_tenths(name):
    """InsightFace's networks: momentum 0.9 in every batch norm."""
    layers_of_it = [x for x in backbones.build(name).layers if isinstance(x, tf_keras.layers.BatchNormalization)]
    assert {layer.momentum for layer in layers_of_it} == {0.9}


@pytest.mark.parametrize("size", [8, 7])
def test_stride_2_pads_symmetrically(size):
    """Against numpy's padding: TensorFlow's "same" would start the grid of an even input one pixel later."""
    build = layers.Builder(norm_kind="batch", epsilon=1e-5, momentum=0.9)
    image = tf_keras.Input((size, size, 2))
    model = tf_keras.Model(image, build.conv(image, 3, 3, 2, name="conv"))
    x = np.random.default_rng(0).normal(size=(1, size, size, 2)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    (kernel,) = model.get_weights()
    side = (size + 2 - 3) // 2 + 1
    expected = [
        [np.tensordot(padded[0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3], kernel, 3) for j in range(side)]
        for i in range(side)
    ]
    assert_close(model(x)[0], expected)


def test_grouped_convolution_is_tensorflows():
    layer = layers.GroupedConv2D(12, 3, 4)
    x = tf.random.normal((2, 6, 7, 8), seed=2)
    y = layer(x)
    # TensorFlow's grouped kernel is [k, k, C / groups, F]: output g * 3 + o reads the channels of group g.
    kernel = layer.kernel.numpy().reshape(3, 3, 4, 2, 3).transpose(0, 1, 3, 2, 4).reshape(3, 3, 2, 12)
    assert_close(y, tf.nn.conv2d(x, kernel, 1, "VALID"))
    assert layer.compute_output_shape(x.shape) == y.shape
    with pytest.raises(ValueError, match="Received: groups=5"):
        layers.GroupedConv2D(10, 3, 5)(x)


def test_mobilefacenet_may_begin_with_residuals():
    """arcface_torch's get_mbf_large, blocks (2, 8, 12, 4) and scale 4: 6,314,880 parameters by PyTorch's count."""
    model = backbones.build(
        "mobilefacenet_mbf", stem_width=256, stem_residuals=2, widths=(256, 512, 512), residuals=(8, 12, 4)
    )
    assert summary.summarize(model).parameters == 6_314_880


def own_backbone(*, name, embedding_dim, dropout, norm, depth=1):
    """A user's function."""
    image = tf_keras.Input((112, 112, 3))
    x = tf_keras.layers.GlobalAveragePooling2D()(image)
    for _ in range(depth):
        x = tf_keras.layers.Dense(embedding_dim)(x)
    return tf_keras.Model(image, x, name=name)


def test_a_users_function(monkeypatch):
    monkeypatch.setattr(backbones, "_REGISTRY", dict(backbones._REGISTRY))
    backbones.register("own", embedding_dim=32)(own_backbone)
    assert backbones.build("own", depth=2).output_shape == (None, 32)
    assert backbones.spec("own").description == "A user's function."
    with pytest.raises(ValueError, match="Received: name='own'"):
        backbones.register("own")


def test_an_import_path():
    model = backbones.build("trainer_module.backbones.mobilefacenet:mobilefacenet", embedding_dim=64)
    assert model.output_shape == (None, 64)
    with pytest.raises(ValueError, match="Received: name='trainer_module.backbones.iresnet:nothing'"):
        backbones.build("trainer_module.backbones.iresnet:nothing")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet50", {}, "iresnet18, iresnet34, .*Received: name='resnet50'"),
        ("iresnet18", {"norm": "layer"}, "sync_batch, .*Received: norm='layer'"),
        ("iresnet18", {"embedding_dim": 0}, "Received: embedding_dim=0"),
        ("iresnet18", {"dropout": 1.0}, "Received: dropout=1.0"),
        ("iresnet_tiny", {"units": (1, 1)}, r"Received: units=\(1, 1\)"),
        ("mobilefacenet", {"widths": (1, 1)}, r"Received: \(1, 1\)"),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        backbones.build(name, **options)


def test_a_function_with_other_shapes_is_refused(monkeypatch):
    monkeypatch.setattr(backbones, "_REGISTRY", dict(backbones._REGISTRY))
    backbones.register("wrong")(lambda **_: own_backbone(name="x", embedding_dim=3, dropout=0, norm=""))
    with pytest.raises(ValueError, match=r"must map .* Received: .*\(None, 3\)"):
        backbones.build("wrong")


def a_number(*, name, embedding_dim, dropout, norm):
    """A function that builds no network."""
    return 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os:system", "'os:system' must take name, embedding_dim, dropout, norm by name"),
        (f"{__name__}:a_number", "a_number' must give a tf_keras.Model. Received: int"),
    ],
)
def test_a_function_that_builds_no_network_is_named(name, message):
    with pytest.raises(ValueError, match=message):
        backbones.build(name)
