"""Folding, against the network that Keras runs: weights are drawn, since fresh ones would hide half of it."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from serving.inference import keras_steps, steps
from serving.inference.folding import fold
from serving.inference.network import InferenceNetwork
from tests.closeness import assert_close
from trainer_module import backbones

_RANGES = {
    "moving_variance": (0.3, 3), "moving_mean": (-1, 1), "beta": (-1, 1), "gamma": (0.5, 1.5), "alpha": (-0.2, 0.6),
    "bias": (-1, 1),
}  # fmt: skip


def drawn(model, seed=0):
    """The model with other weights than a fresh one's."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        kind = variable.name.rsplit("/", 1)[-1].split(":")[0]
        if kind in _RANGES:
            variable.assign(random.uniform(*_RANGES[kind], variable.shape))
    return model


def pixels(count=2, size=112):
    return np.random.default_rng(1).normal(0, 1, (count, size, size, 3)).astype(np.float32)


def both(model, size=112):
    """What Keras and what the folded network give."""
    network = InferenceNetwork(model)
    return model(pixels(size=size), training=False).numpy(), tf.function(network)(pixels(size=size)).numpy(), network


@pytest.mark.parametrize(
    "name, options",
    [
        ("iresnet_tiny", {"norm": "batch"}),
        ("iresnet_tiny", {"norm": "batch_renorm", "dropout": 0.4, "output_gamma": True}),
        ("mobilefacenet", {"norm": "sync_batch"}),
        ("mobilefacenet_mbf", {}),
        pytest.param("iresnet18", {}, marks=pytest.mark.slow),
        pytest.param("iresnet50", {}, marks=pytest.mark.slow),
    ],
)
def test_a_folded_backbone_gives_the_same_without_a_batch_norm(name, options):
    expected, received, network = both(drawn(backbones.build(name, **options)))
    assert_close(received, expected, 1e-5)
    kinds = {type(step) for step in network.network.steps.values()}
    assert kinds == {steps.Input, steps.Convolution, steps.Prelu, steps.Add, steps.Flatten, steps.Dense}


def test_group_norm_stays():
    expected, received, network = both(drawn(backbones.build("iresnet_tiny", norm="group")))
    assert_close(received, expected, 1e-5)
    assert sum(isinstance(step, steps.GroupNorm) for step in network.network.steps.values()) == 15


@pytest.mark.parametrize("padding, stride, size", [("same", 1, 3), ("same", 2, 3), ("valid", 2, 3), ("same", 2, 5)])
@pytest.mark.parametrize("kind", [tf_keras.layers.Conv2D, tf_keras.layers.DepthwiseConv2D])
def test_a_norm_before_a_padded_convolution_is_exact_at_the_border(kind, padding, stride, size):
    image = tf_keras.Input((11, 11, 3))
    x = tf_keras.layers.BatchNormalization()(image)
    x = kind(*([4] if kind is tf_keras.layers.Conv2D else []), size, strides=stride, padding=padding)(x)
    model = drawn(tf_keras.Model(image, tf_keras.layers.Flatten()(x)))
    expected, received, network = both(model, size=11)
    assert_close(received, expected, 1e-6)
    [convolution] = [s for s in network.network.steps.values() if isinstance(s, steps.Convolution)]
    bias = convolution.weights["bias"]
    assert bias.ndim == (1 if padding == "valid" else 3)
    if padding == "same":  # of a padded border, less is left
        assert np.abs(bias[0, 0] - bias[bias.shape[0] // 2, bias.shape[1] // 2]).max() > 0.01


def test_a_norm_that_several_layers_take_stays():
    image = tf_keras.Input((8, 8, 3))
    x = tf_keras.layers.BatchNormalization()(image)
    y = tf_keras.layers.Conv2D(3, 3, padding="same")(x)
    model = drawn(tf_keras.Model(image, tf_keras.layers.Flatten()(tf_keras.layers.Add()([x, y]))))
    expected, received, network = both(model, size=8)
    assert_close(received, expected, 1e-6)
    assert sum(isinstance(step, steps.Scale) for step in network.network.steps.values()) == 1


def test_a_convolution_that_another_layer_takes_too_keeps_its_own_result():
    image = tf_keras.Input((8, 8, 3))
    x = tf_keras.layers.Conv2D(3, 3, padding="same")(image)
    y = tf_keras.layers.BatchNormalization()(x)
    model = drawn(tf_keras.Model(image, tf_keras.layers.Flatten()(tf_keras.layers.Add()([x, y]))))
    expected, received, _ = both(model, size=8)
    assert_close(received, expected, 1e-6)


def test_slopes_above_one_are_followed():
    image = tf_keras.Input((8, 8, 3))
    x = tf_keras.layers.PReLU(alpha_initializer=tf_keras.initializers.Constant(1.5), shared_axes=[1, 2])(image)
    expected, received, _ = both(tf_keras.Model(image, tf_keras.layers.Flatten()(x)), size=8)
    assert_close(received, expected, 1e-6)


def test_layers_of_a_users_own_are_called_as_they_are():
    image = tf_keras.Input((8, 8, 3))
    x = tf_keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = tf_keras.layers.BatchNormalization()(x)
    x = tf_keras.layers.GaussianNoise(10.0)(tf.multiply(2.0, x))
    model = drawn(tf_keras.Model(image, tf_keras.layers.Dense(5)(tf_keras.layers.GlobalAveragePooling2D()(x))))
    expected, received, _ = both(model, size=8)
    assert_close(received, expected, 1e-6)


def test_a_model_whose_layers_give_several_results_is_one_step():
    image = tf_keras.Input((8, 8, 4))
    left, right = tf.split(tf_keras.layers.Dropout(0.5)(image), 2, axis=-1)
    x = tf_keras.layers.Dense(5)(tf_keras.layers.Flatten()(left - right))
    model = tf_keras.Model(image, x, name="own")
    network = InferenceNetwork(model)
    images = np.random.default_rng(1).normal(0, 1, (2, 8, 8, 4)).astype(np.float32)
    assert_close(tf.function(network)(images), model(images, training=False), 1e-6)
    assert set(network.variables) == {"own/0", "own/1"}


def test_nothing_of_training_is_left():
    network = InferenceNetwork(backbones.build("iresnet_tiny", dropout=0.5))
    graph = tf.function(network).get_concrete_function(tf.TensorSpec([None, 112, 112, 3])).graph
    operations = {operation.type for operation in graph.get_operations()}
    assert operations <= {
        "Placeholder", "ReadVariableOp", "Conv2D", "BiasAdd", "AddV2", "Mul", "Maximum", "MatMul", "Reshape", "Const",
        "Identity", "NoOp",
    }  # fmt: skip
    with pytest.raises(ValueError, match="Received: training=True"):
        network(pixels(), training=True)


def test_weights_go_out_and_in_by_their_names():
    network = fold(keras_steps.read(drawn(backbones.build("iresnet_tiny"))))
    other = fold(keras_steps.read(backbones.build("iresnet_tiny"))).with_arrays(network.arrays())
    for name, array in network.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array)
