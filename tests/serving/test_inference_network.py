"""The network as it is served gives Keras's own values, to the bit."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from serving.inference_network import inference_network
from trainer_module import backbones


@pytest.mark.parametrize("largest", [1.0, 1.01])
def test_to_the_bit(largest):
    """With slopes of -0.5 .. 1 in every PReLU, and with one above 1 in each."""
    backbone = backbones.build("iresnet_tiny", embedding_dim=16)
    random = np.random.default_rng(0)
    prelus = [layer for layer in backbone.layers if isinstance(layer, tf_keras.layers.PReLU)]
    for layer in prelus:
        slopes = random.uniform(-0.5, 1, layer.alpha.shape).astype(np.float32)
        slopes.flat[0] = largest
        layer.alpha.assign(slopes)
    images = tf.random.stateless_uniform([2, 112, 112, 3], [1, 2], -1, 1)
    expected = backbone(images, training=False)
    twin = inference_network(backbone)
    np.testing.assert_array_equal(twin(images, training=False), expected)
    np.testing.assert_array_equal(backbone(images, training=False), expected)  # which stays as it was
    left = sum(isinstance(layer, tf_keras.layers.PReLU) for layer in twin.layers)
    assert left == (0 if largest == 1 else len(prelus))
    assert {variable.ref() for variable in twin.variables} == {variable.ref() for variable in backbone.variables}
