"""The ExampleGens' driver of a local run: the cache goes by what the input files hold, not by where and since when.

TFX's own driver takes a copied data set for a new one, and misses an edit within a second that keeps the size.
Kubeflow's compiler puts that driver in the place of ours; there, its fingerprint of sizes and times decides.
"""

import os
import shutil
import uuid
from collections.abc import Iterable
from typing import Any

from tfx.components.example_gen import driver, input_processor
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

from arcface_common import filesystem
from arcface_common.errors import DataError
from components.content_digest import content_digest, memo_path


def input_files(input_base: str, input_config: str) -> list[str]:
    """The files that an ExampleGen's input is made of, sorted.

    Args:
      input_base: the data set's folder; its name is taken as it is, with brackets and asterisks.
      input_config: JSON of `example_gen_pb2.Input`, whose splits name files, of which some may not be there.

    Raises:
      DataError: none is there.
    """
    config = example_gen_pb2.Input()
    proto_utils.json_to_proto(input_config, config)
    paths = sorted({os.path.join(input_base, split.pattern) for split in config.splits})
    found = [path for path in paths if filesystem.exists(path)]
    if not found:
        raise DataError(f"{' or '.join(paths)}: expected a file. Received: no such file")
    return found


class _ContentProcessor(input_processor.InputProcessor):
    """Spans and versions there are none; the fingerprint is the content's digest."""

    def __init__(self, splits: Iterable[example_gen_pb2.Input.Split], input_base: str, work: str) -> None:
        super().__init__(splits)
        self._input_base = input_base
        self._work = work

    def get_latest_span(self) -> int:
        """The only one."""
        return 0

    def get_pattern_for_span_version(self, pattern: str, span: int, version: int | None) -> str:
        """The pattern as it is."""
        return pattern

    def get_input_fingerprint(self, span: int, version: int | None) -> str:
        """Digest of all input files."""
        config = proto_utils.proto_to_json(example_gen_pb2.Input(splits=self._splits))
        return content_digest(input_files(self._input_base, config), memo_path(self._work))


class ContentDriver(driver.FileBasedDriver):
    """Fingerprints the content, and gives a local folder a name that goes by content."""

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """Fills in the fingerprint; `input_base` becomes a link in the work folder, named by it.

        All properties are part of TFX's cache key, and a copy elsewhere is to be the same data set.
        """
        self._work = exec_properties["work"]
        resolved = super().resolve_exec_properties(exec_properties, pipeline_info, component_info)
        input_base = resolved[standard_component_specs.INPUT_BASE_KEY]
        if memo_path(self._work) and filesystem.is_local(input_base):
            link = os.path.join(self._work, "inputs", resolved["input_fingerprint"])
            _point(link, os.path.realpath(input_base))
            resolved[standard_component_specs.INPUT_BASE_KEY] = link
        return resolved

    def get_input_processor(
        self,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
        input_base_uri: str | None = None,
    ) -> input_processor.InputProcessor:
        """The processor that knows no spans."""
        assert input_base_uri
        return _ContentProcessor(splits, input_base_uri, self._work)


def _point(link: str, target: str) -> None:
    """Makes a symbolic link, or turns it; nobody meets a moment without it.

    A folder in its place is a copy of the data: a root was copied with its links followed.
    """
    if os.path.islink(link) and os.readlink(link) == target:
        return
    if os.path.isdir(link) and not os.path.islink(link):
        shutil.rmtree(link)
    os.makedirs(os.path.dirname(link), exist_ok=True)
    aside = f"{link}.{uuid.uuid4().hex}"
    os.symlink(target, aside)
    os.replace(aside, link)
