"""Real photos: crops of our own against those of the same photos that others made, by the published y1's embeddings."""

import numpy as np
import pytest

from arcface_common.image_pixels import decode
from components.alignment.aligner import aligned
from components.datasets.pair_list import read_pairs
from components.formats import verification_bin

PAIRS = 12


@pytest.mark.slow
def test_crops_are_those_of_the_official_set_to_a_network(real_faces):
    import tensorflow as tf

    from trainer_module.data import images
    from trainer_module.weights.import_mxnet import import_mxnet

    photos = real_faces / "photos"
    pairs = read_pairs(photos / "pairs.txt", photos / "images")[:PAIRS]
    ours = [entry.pixels for entry in aligned(path for pair in pairs for path in (pair.first, pair.second))]
    official = verification_bin.read(real_faces / "official" / "lfw.bin").images[: 2 * PAIRS]
    pixels = np.stack([*ours, *map(decode, official)])
    imported = import_mxnet(real_faces / "mobilefacenet-y1" / "model", 0)
    raw = imported.backbone(images.to_input(tf.constant(pixels), imported.pixel_format), training=False).numpy()
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    cosines = (unit[: 2 * PAIRS] * unit[2 * PAIRS :]).sum(axis=1)
    assert np.median(cosines) > 0.97, cosines
    assert cosines.min() > 0.85, cosines
