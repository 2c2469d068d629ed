"""InsightFace's published MobileFaceNet y1, where its files lie beside the repository: MXNet's own embeddings."""

import numpy as np
import tensorflow as tf

from arcface_common.features import PixelFormat
from components.formats import verification_bin
from trainer_module.data import images
from trainer_module.weights.import_mxnet import import_mxnet


def test_y1_embeds_real_faces_as_mxnet_does(real_faces):
    imported = import_mxnet(real_faces / "mobilefacenet-y1" / "model", 0)
    assert (imported.name, imported.embedding_dim) == ("mobilefacenet", 128)
    assert imported.pixel_format == PixelFormat("rgb", 127.5, 128.0)
    faces = verification_bin.read(real_faces / "official" / "lfw.bin").images[:16]
    pixels = images.decode_faces(tf.constant(faces))
    embedding = imported.backbone(images.to_input(pixels, imported.pixel_format), training=False).numpy()
    with np.load(real_faces / "mobilefacenet-y1" / "reference.npz") as reference:
        np.testing.assert_allclose(pixels.numpy().mean((1, 2, 3)), reference["pixels_mean"], rtol=1e-5)
        expected = reference["embedding"]
    assert abs(embedding - expected).max() / abs(expected).max() < 1e-4
