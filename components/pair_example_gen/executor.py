"""Work of PairExampleGen: each set to one TFRecord file, in the order of the published list or of the draw."""

import contextlib
import dataclasses
import json
import os
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.types import artifact_utils

from arcface_common import features, filesystem
from arcface_common.console import say
from arcface_common.errors import DataError
from components.datasets.kept_out import KeepOut
from components.example_gen_base import (
    FolderExampleGenExecutor,
    begin_examples,
    unchanged,
)
from components.formats import verification_bin
from components.formats.tfrecord import example_parts, tfrecord_aside
from components.formats.verification_resize import check_pair_bytes
from components.pair_example_gen.drawn import DrawnSet
from components.pair_example_gen.sets import FileSet, Limits

RECORDS_KEY = "records"


@dataclasses.dataclass(frozen=True)
class SetSummary:
    """What was written: pairs, images that were resized and turned, bytes, remarks; or what was wrong with the set."""

    pairs: int = 0
    resized: int = 0
    turned: int = 0
    bytes: int = 0
    error: str = ""
    remarks: list[str] = dataclasses.field(default_factory=list)


def _summary_path(aside: str, name: str) -> str:
    return os.path.join(aside, f"{name}.json")


@dataclasses.dataclass(frozen=True)
class SetTask:
    """One set.

    Attributes:
      name: of the set.
      split_uri: the split's folder.
      source: where its pairs come from.
    """

    name: str
    split_uri: str
    source: FileSet | DrawnSet


class WriteSet(beam.DoFn):
    """Writes one verification set, and its SetSummary beside it."""

    def __init__(self, aside: str, max_set_mb: int) -> None:
        """Keeps what a worker needs.

        Args:
          aside: where unfinished shards and the summaries lie.
          max_set_mb: MiB of images that a set may become.
        """
        self._aside = aside
        self._max_set_mb = max_set_mb

    def process(self, task: SetTask) -> None:
        """Writes the set."""
        content = json.dumps(dataclasses.asdict(self._write(task))).encode()
        filesystem.write_file(_summary_path(self._aside, task.name), content, self._aside)

    def _write(self, task: SetTask) -> SetSummary:
        try:
            fitted, known, remarks = task.source.read()
            pairs = fitted.pairs
            image_bytes = check_pair_bytes(pairs, f"{task.name}.bin", self._max_set_mb)
        except DataError as error:
            return SetSummary(error=str(error))
        path = os.path.join(task.split_uri, "data-00000-of-00001.tfrecord")
        with tfrecord_aside(path, self._aside) as writer:
            for index, same in enumerate(pairs.is_same.tolist()):
                writer.write(
                    example_parts(
                        {
                            **known[index],
                            features.IMAGE_A: pairs.images[2 * index],
                            features.IMAGE_B: pairs.images[2 * index + 1],
                            features.IS_SAME: int(same),
                            features.PAIR_INDEX: index,
                            features.SET: task.name.encode(),
                        }
                    )
                )
        return SetSummary(len(pairs), fitted.resized, fitted.turned, image_bytes, remarks=list(remarks))


class PairExampleGenExecutor(FolderExampleGenExecutor):
    """Writes one split for every set. `input_dict` holds `records`, RecordExampleGen's, where a set is drawn."""

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the Beam job.

        Raises:
          DataError: a set is missing or is not what its format says; names the file.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        given = self.inputs(exec_properties)
        options = dict(given.options)
        sets, drawn = options.pop("sets"), options.pop("drawn", None)
        limits = Limits(**options)
        sources: dict[str, FileSet | DrawnSet] = {}
        for name in sets:
            sources[name] = FileSet(verification_bin.bin_path(given.folder, name), limits)
        if drawn:
            records = artifact_utils.get_single_instance(input_dict[RECORDS_KEY])
            split = artifact_utils.get_split_uri([records], features.VERIFY_SPLIT)
            sources[drawn["name"]] = DrawnSet(records.uri, split, given.folder, KeepOut(**drawn), limits)
        examples = begin_examples(output_dict, list(sources))
        tasks = [
            SetTask(name, artifact_utils.get_split_uri([examples], name), source) for name, source in sources.items()
        ]
        aside = os.path.join(examples.uri, "unfinished")
        with unchanged(given) if sets else contextlib.nullcontext():
            self.write_examples(tasks, WriteSet(aside, limits.max_set_mb))
            summaries = {name: json.loads(filesystem.read_file(_summary_path(aside, name))) for name in sources}
            written = {name: SetSummary(**summary) for name, summary in summaries.items()}
            filesystem.remove_folder(aside)
            if wrong := [summary.error for summary in written.values() if summary.error]:
                raise DataError(wrong[0])
        for name, summary in written.items():
            for remark in summary.remarks:
                say(f"{name}: {remark}")
        for count in ("pairs", "resized", "turned", "bytes"):
            examples.set_int_custom_property(count, sum(getattr(summary, count) for summary in written.values()))
        examples.set_string_custom_property("content_digest", given.digest)
        examples.set_string_custom_property("data", given.folder)
