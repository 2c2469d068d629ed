"""Holds an exported graph to the ops of the oldest supported TF Serving."""

import functools
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from arcface_common.artifacts import SAVED_MODEL_FILE
from arcface_common.errors import DataError

OLDEST = "2.20.0"
_SHOWN = 5


@functools.cache
def read_table() -> dict[str, dict[str, list[str] | None]]:
    """By op and attribute the types and words that TF Serving `OLDEST` takes; None where it takes all."""
    path = pathlib.Path(__file__).parent / f"ops-{OLDEST}.json"
    ops: dict[str, dict[str, list[str] | None]] = json.loads(path.read_text())["ops"]
    return ops


def check_ops(model_dir: str) -> None:
    """Checks that TF Serving `OLDEST` has each op of a SavedModel, with each attribute that is set.

    Args:
      model_dir: the SavedModel.

    Raises:
      DataError: it hasn't; names the ops, and where they are.
    """
    with tf.io.gfile.GFile(os.path.join(model_dir, SAVED_MODEL_FILE), "rb") as f:
        saved = saved_model_pb2.SavedModel.FromString(f.read())
    found = sorted({complaint for graph in saved.meta_graphs for complaint in _complaints(graph.graph_def)})
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise DataError(
            f"{model_dir}: expected ops that TF Serving {OLDEST} has, the oldest that is supported. "
            f"Received: {'; '.join(found[:_SHOWN])}{more}"
        )


def _complaints(graph: Any) -> Iterator[str]:
    table = read_table()
    own = {function.signature.name for function in graph.library.function}
    places = [("", graph.node), *((f" in {f.signature.name}", f.node_def) for f in graph.library.function)]
    for place, nodes in places:
        for node in nodes:
            if node.op in own:
                continue
            if node.op not in table:
                yield f"op {node.op}{place}"
                continue
            for name, value in node.attr.items():
                if not name.startswith("_"):  # hints, which no op declares
                    yield from (f"{wrong}{place}" for wrong in _wrong(node.op, name, value, table[node.op]))


def _wrong(op: str, name: str, value: Any, attributes: dict[str, list[str] | None]) -> Iterator[str]:
    if name not in attributes:
        yield f"{op}'s attribute {name}"
        return
    allowed = attributes[name]
    if allowed is None:
        return
    kinds = [value.type] if value.HasField("type") else value.list.type
    words = [value.s] if value.HasField("s") else value.list.s
    for received in [*(types_pb2.DataType.Name(kind) for kind in kinds), *(word.decode() for word in words)]:
        if received not in allowed:
            yield f"{op} with {name}={received}"
