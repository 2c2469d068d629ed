"""What RecordExampleGen and PairExampleGen share: the spec's parameters, and how an Examples artifact is filled."""

import contextlib
import dataclasses
import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.components.example_gen import component as example_gen
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_component
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter


class FolderExampleGenSpec(ComponentSpec):
    """Spec of an ExampleGen over a data set's folder.

    The first four parameters are those that the stock file-based driver reads (the only driver that Kubeflow's
    compiler keeps). `code_version` makes a change of our source code a change of the cache key: TFX hashes the
    properties of a node, not the code behind it.
    """

    PARAMETERS = {
        "input_base": ExecutionParameter(type=str),
        "input_config": ExecutionParameter(type=example_gen_pb2.Input),
        "output_config": ExecutionParameter(type=example_gen_pb2.Output),
        "range_config": ExecutionParameter(type=range_config_pb2.RangeConfig, optional=True),
        "options": ExecutionParameter(type=str),
        "code_version": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class FolderExampleGen(example_gen.FileBasedExampleGen):
    """Base of the two ExampleGens: fingerprints its input files with the stock driver, has an executor of its own."""

    SPEC_CLASS = FolderExampleGenSpec

    def __init__(self, input_base: str, patterns: dict[str, str], options: str, code_version: str) -> None:
        """Makes the spec.

        Args:
          input_base: the data set's folder.
          patterns: name -> glob of the files that the cache key fingerprints, relative to `input_base`.
          options: JSON for the executor.
          code_version: digest of the source files behind the executor.
        """
        splits = [example_gen_pb2.Input.Split(name=name, pattern=pattern) for name, pattern in patterns.items()]
        spec = FolderExampleGenSpec(
            input_base=input_base,
            input_config=example_gen_pb2.Input(splits=splits),
            output_config=example_gen_pb2.Output(),
            options=options,
            code_version=code_version,
            examples=types.Channel(type=standard_artifacts.Examples),
        )
        # FileBasedExampleGen's own initializer would build the stock spec, which has no room for our parameters.
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)


def begin_examples(output_dict: dict[str, list[types.Artifact]], splits: list[str]) -> types.Artifact:
    """Marks the output artifact as plain TFRecords of tf.Example with these splits, and returns it."""
    examples = artifact_utils.get_single_instance(output_dict["examples"])
    examples.split_names = artifact_utils.encode_split_names(splits)
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    return examples


def serialized_example(values: dict[str, bytes | int]) -> bytes:
    """A serialized tf.Example with one value a feature, the same bytes in every process."""
    features = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        else:
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # A map's order on the wire is otherwise that of a hash, which differs from process to process.
    return example.SerializeToString(deterministic=True)


@contextlib.contextmanager
def tfrecord_aside(path: str, aside: str) -> Iterator[tf.io.TFRecordWriter]:
    """Writes a TFRecord file in another folder and renames it, so that a reader's glob never meets half a shard.

    Args:
      path: where the shard belongs.
      aside: folder for the unfinished file, on the same file system.

    Yields:
      The writer; if the body raises, the unfinished file is removed and `path` does not appear.
    """
    tf.io.gfile.makedirs(aside)
    tf.io.gfile.makedirs(os.path.dirname(path))
    unfinished = os.path.join(aside, f"{uuid.uuid4().hex}.tfrecord")
    try:
        with tf.io.TFRecordWriter(unfinished) as writer:
            yield writer
        tf.io.gfile.rename(unfinished, path, overwrite=True)
    except BaseException:
        if tf.io.gfile.exists(unfinished):
            tf.io.gfile.remove(unfinished)
        raise


def write_summary(summary: Any, path: str) -> None:
    """Writes a dataclass as JSON, the last step of a Beam job, for the executor to read when the job has ended."""
    with tf.io.gfile.GFile(path, "w") as f:
        json.dump(dataclasses.asdict(summary), f)


def read_summary(path: str) -> dict[str, Any]:
    """The fields that `write_summary` wrote, with sequences as tuples."""
    with tf.io.gfile.GFile(path) as f:
        values = json.load(f)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
