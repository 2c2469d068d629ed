"""What is read of pairs follows the published order, whatever shard holds which pair."""

import numpy as np
import pytest

from arcface_common import features
from arcface_common.digests import image_digest
from components.formats.tfrecord import example_parts, tfrecord_aside
from evaluator_custom.tfma_bridge.pair_examples import read_pair_examples
from tests.helpers import jpeg

pytestmark = pytest.mark.slow


def test_pairs_come_in_the_published_order_from_shards_that_are_out_of_it(tmp_path):
    for shard, indices in enumerate(([5, 1, 3], [4, 0, 2])):
        with tfrecord_aside(str(tmp_path / f"data-0000{shard}-of-00002.tfrecord"), str(tmp_path / "aside")) as writer:
            for index in indices:
                pair = {
                    features.ATTRIBUTES: [f"age={index}".encode()],
                    features.IDENTITIES: [f"person{index}".encode()],
                    features.IMAGE_A: jpeg(2 * index),
                    features.IMAGE_B: jpeg(2 * index + 1),
                    features.IS_SAME: index % 2,
                    features.PAIR_INDEX: index,
                    features.SET: b"lfw",
                }
                writer.write(example_parts(pair))
    (tmp_path / "aside").rmdir()
    pairs = read_pair_examples(str(tmp_path), "lfw")
    assert list(pairs.images) == [jpeg(i) for i in range(12)]
    expected = [[image_digest(jpeg(2 * i + side)) for side in (0, 1)] for i in range(6)]
    np.testing.assert_array_equal(pairs.digests, np.array(expected, np.uint64))
    assert pairs.attributes == {"age": ["0", "1", "2", "3", "4", "5"]}
    assert pairs.identities == [[f"person{i}"] for i in range(6)]
