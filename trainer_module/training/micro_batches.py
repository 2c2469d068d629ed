"""Gradient accumulation: a batch in parts, one after the other, in the memory of one."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def sum_over_parts(function: Callable[..., Any], batch: Sequence[tf.Tensor], parts: int, zero: Any) -> Any:
    """The sum of what a function gives for equal parts of a batch.

    Args:
      function: of a part of each of `batch`; gives a nested structure of tensors. What it calls must not reduce over
        replicas, which TensorFlow can't do in a loop.
      batch: tensors [N, ...], N a multiple of `parts`.
      parts: how many; 1 is the function of the whole batch itself.
      zero: the structure, filled with zeros of its shapes.

    Returns:
      The structure.
    """
    if parts == 1:
        return function(*batch)
    split = [tf.reshape(tensor, [parts, -1, *tensor.shape[1:]]) for tensor in batch]

    def add(part: tf.Tensor, total: Any) -> tuple[tf.Tensor, Any]:
        found = function(*(tensor[part] for tensor in split))
        return part + 1, tf.nest.map_structure(tf.add, total, found)

    # One at a time: of ten at once, as is usual, the activations of all would lie side by side.
    _, total = tf.while_loop(lambda part, _: part < parts, add, (tf.constant(0), zero), parallel_iterations=1)
    return total
