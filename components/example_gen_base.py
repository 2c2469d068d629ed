"""What RecordExampleGen and PairExampleGen share: the spec's parameters, and how an Examples artifact is filled."""

import contextlib
import dataclasses
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from tfx import types
from tfx.components.example_gen import component as example_gen
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_component, base_beam_executor
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from trainer_module.errors import DataError


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


class FolderExampleGenExecutor(base_beam_executor.BaseBeamExecutor):
    """Base of the two executors: runs the Beam job whose tasks each write files of their own."""

    def write_examples(
        self,
        examples: types.Artifact,
        tasks: Sequence[Any],
        make_writer: Callable[[str], beam.DoFn],
        merge: Callable[[Iterable[Any]], Any],
    ) -> dict[str, Any]:
        """Runs the job.

        Bad input is a value, not an exception: Beam would wrap it in its own, and the user's exit code depends on it.

        Args:
          examples: the output artifact.
          tasks: small descriptions of what to write; only they are ever shuffled, never the bytes of images.
          make_writer: from a folder for unfinished files to a DoFn of tasks that yields summaries: dataclasses with the
            field `errors`, messages about bad input.
          merge: adds up summaries.

        Returns:
          The fields of the merged summary.

        Raises:
          DataError: the first of the summary's errors.
        """
        aside = os.path.join(examples.uri, "unfinished")
        summary_path = os.path.join(examples.uri, "summary.json")
        with self._make_beam_pipeline() as pipeline:
            (
                pipeline
                | "Tasks" >> beam.Create(tasks, reshuffle=True)  # spreads them over the workers
                | "Write" >> beam.ParDo(make_writer(aside))
                | "Sum" >> beam.CombineGlobally(merge)
                | "WriteSummary" >> beam.Map(_write_summary, summary_path)
            )
        if tf.io.gfile.exists(aside):
            tf.io.gfile.rmtree(aside)
        with tf.io.gfile.GFile(summary_path) as f:
            summary = json.load(f)
        if summary["errors"]:
            raise DataError(summary["errors"][0])
        return summary


def _write_summary(summary: Any, path: str) -> None:
    with tf.io.gfile.GFile(path, "w") as f:
        json.dump(dataclasses.asdict(summary), f)
