"""What RecordExampleGen and PairExampleGen share: the spec's parameters, and how an Examples artifact is filled."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.example_gen import component as example_gen
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_component, base_beam_executor
from tfx.dsl.placeholder import placeholder
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from arcface_common import filesystem
from arcface_common.errors import DataError
from arcface_common.source_digest import source_digest
from components import content_driver
from components.content_digest import InputChangedError, content_digest, memo_path


class FolderExampleGenSpec(ComponentSpec):
    """Spec of an ExampleGen over a data set's folder.

    The first four parameters are those that the stock file-based driver reads (the only driver that Kubeflow's
    compiler keeps). `content` is the input files' digest, for the cache key alone. `work` is a folder that outlives a
    run. `code_version` makes a change of our source code a change
    of the cache key: TFX hashes the properties of a node, not the code behind it.
    """

    PARAMETERS = {
        "input_base": ExecutionParameter(type=str),
        "input_config": ExecutionParameter(type=example_gen_pb2.Input),
        "output_config": ExecutionParameter(type=example_gen_pb2.Output),
        "range_config": ExecutionParameter(type=range_config_pb2.RangeConfig, optional=True),
        "content": ExecutionParameter(type=str),
        "options": ExecutionParameter(type=str),
        "work": ExecutionParameter(type=str),
        "code_version": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class FolderExampleGen(example_gen.FileBasedExampleGen):
    """Base of the two ExampleGens: a driver that goes by content, and an executor of its own."""

    SPEC_CLASS = FolderExampleGenSpec
    DRIVER_CLASS = content_driver.ContentDriver

    def __init__(
        self,
        input_base: str,
        files: Sequence[str],
        options: dict[str, Any],
        *,
        work: str,
        content: str | placeholder.Placeholder = "",
        **inputs: types.BaseChannel | None,
    ) -> None:
        """Makes the spec.

        Args:
          input_base: the data set's folder.
          files: names of the files in `input_base` that the cache key stands for; one that isn't there is left out.
          options: JSON-ready values for the executor.
          work: folder that outlives a run; "" for none.
          content: digest of those files, where it isn't the driver alone that keeps the key true.
          inputs: the spec's channels, those that are None left out.
        """
        splits = [example_gen_pb2.Input.Split(name=name, pattern=name) for name in files]
        spec = type(self).SPEC_CLASS(
            input_base=input_base,
            input_config=example_gen_pb2.Input(splits=splits),
            output_config=example_gen_pb2.Output(),
            content=content,
            options=json.dumps(options, sort_keys=True),
            work=work,
            code_version=source_digest(type(self).EXECUTOR_SPEC.executor_class.__module__),
            examples=types.Channel(type=standard_artifacts.Examples),
            **{name: channel for name, channel in inputs.items() if channel is not None},
        )
        # FileBasedExampleGen's own initializer would build the stock spec, which has no room for our parameters.
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)


@dataclasses.dataclass(frozen=True)
class FolderInputs:
    """What an executor was told.

    Attributes:
      folder: the data set's, as the user knows it.
      files: the input files.
      digest: their `content_digest`, as the cache's key has it.
      options: the executor's own.
      work: folder that outlives a run; "" for none.
      code_version: digest of the source files behind the executor.
    """

    folder: str
    files: list[str]
    digest: str
    options: dict[str, Any]
    work: str
    code_version: str


@contextlib.contextmanager
def unchanged(given: FolderInputs) -> Iterator[None]:
    """Holds what was read in the body, or failed to be read, to the digest that the cache's key is made of.

    Raises:
      InputChangedError: a file was replaced or written to since. What was made of it must not be taken for the key's.
    """
    try:
        yield
    except DataError as error:
        _check_unchanged(given, error)
        raise
    _check_unchanged(given)


def _check_unchanged(given: FolderInputs, cause: Exception | None = None) -> None:
    if content_digest(given.files, memo_path(given.work)) != given.digest:
        names = ", ".join(map(os.path.basename, given.files))
        raise InputChangedError(
            f"{given.folder}: expected files that stay as they are while a run reads them ({names}). Received: others "
            "than at its beginning; nothing of them was kept, run it again"
        ) from cause


def begin_examples(output_dict: dict[str, list[types.Artifact]], splits: list[str]) -> types.Artifact:
    """Marks the output artifact as plain TFRecords of tf.Example with these splits, and returns it."""
    examples = artifact_utils.get_single_instance(output_dict["examples"])
    examples.split_names = artifact_utils.encode_split_names(splits)
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    return examples


class FolderExampleGenExecutor(base_beam_executor.BaseBeamExecutor):
    """Base of the two executors: runs the Beam job whose tasks each write files of their own."""

    def inputs(self, exec_properties: dict[str, Any]) -> FolderInputs:
        """What the properties say, whether our driver ran before (locally) or TFX's (on Kubeflow)."""
        folder, work = exec_properties["input_base"], exec_properties.get("work", "")
        files = content_driver.input_files(folder, exec_properties.get("input_config", "{}"))
        return FolderInputs(
            # The driver gives it a name that goes by content; people know the other one.
            folder=os.path.realpath(folder) if filesystem.is_local(folder) else folder,
            files=files,
            digest=exec_properties.get("content") or content_digest(files, memo_path(work)),
            options=json.loads(exec_properties["options"]),
            work=work,
            code_version=exec_properties.get("code_version", ""),
        )

    def write_examples(self, tasks: Sequence[Any], writer: beam.DoFn, one_worker: bool = False) -> None:
        """Runs the job: the writer is called for each task, on whichever worker, and yields nothing.

        What it has to say about a task, bad input too, it writes to a file of that task's own: an exception Beam would
        wrap in its own, and the user's exit code depends on it; and gathering values takes Beam 60 ms.

        Args:
          tasks: small descriptions of what to write; only they are ever shuffled, never the bytes of images.
          writer: writes.
          one_worker: the runner has one worker only, so that the tasks needn't be spread, which takes Beam 30 ms.
        """
        with self._make_beam_pipeline() as pipeline:
            _ = pipeline | "Tasks" >> beam.Create(tasks, reshuffle=not one_worker) | "Write" >> beam.ParDo(writer)
