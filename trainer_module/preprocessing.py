"""User code of the Transform node: the identity becomes a class index, the image passes through undecoded."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from arcface_common import features


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    """Maps a raw train Example to what the Trainer reads.

    Identity labels of a data set may have gaps (cleaned lists) or start anywhere; softmax needs 0 .. C-1. The
    vocabulary is the one place where C comes from.

    Args:
      inputs: `image` string [N, 1], `label` int64 [N, 1], `key` int64 [N, 1].

    Returns:
      `image` string [N, 1], untouched; `class_index` int64 [N, 1], by falling frequency of the identity.
    """
    class_index = tft.compute_and_apply_vocabulary(
        tf.strings.as_string(inputs[features.LABEL]),
        num_oov_buckets=0,
        vocab_filename=features.IDENTITY_VOCABULARY,
    )
    return {features.IMAGE: inputs[features.IMAGE], features.CLASS_INDEX: class_index}
