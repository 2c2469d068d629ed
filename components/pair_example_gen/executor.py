"""Work of PairExampleGen: each `.bin` set to one TFRecord file, in the order of the published list."""

import dataclasses
import json
import os
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.types import artifact_utils

from arcface_common import features, filesystem
from arcface_common.errors import DataError
from components.example_gen_base import (
    FolderExampleGenExecutor,
    begin_examples,
)
from components.formats import pair_attributes
from components.formats.tfrecord import example_parts, tfrecord_aside
from components.formats.verification_resize import check_pair_bytes, read_fitted


@dataclasses.dataclass(frozen=True)
class SetSummary:
    """What was written: pairs, images that were resized and turned, bytes; or what was wrong with the set."""

    pairs: int = 0
    resized: int = 0
    turned: int = 0
    image_bytes: int = 0
    error: str = ""


def _summary_path(aside: str, name: str) -> str:
    return os.path.join(aside, f"{name}.json")


class WriteSet(beam.DoFn):
    """Writes one verification set, and its SetSummary beside it."""

    def __init__(
        self,
        input_base: str,
        aside: str,
        max_image_pixels: int = features.MAX_IMAGE_PIXELS,
        max_set_mb: int = features.MAX_SET_MB,
    ) -> None:
        """Keeps what a worker needs.

        Args:
          input_base: folder of the `.bin` files.
          aside: where unfinished shards and the summaries lie.
          max_image_pixels: width times height of an image at most.
          max_set_mb: MiB of images that a set may become: one image of many pairs is written with each of them.
        """
        self._input_base = input_base
        self._aside = aside
        self._max_image_pixels = max_image_pixels
        self._max_set_mb = max_set_mb

    def process(self, task: tuple[str, str]) -> None:
        """Writes the set `task[0]` to the split's folder `task[1]`. Memory: the `.bin` file, 100 MB for 7,000 pairs."""
        summary = self._write(*task)
        content = json.dumps(dataclasses.asdict(summary)).encode()
        filesystem.write_file(_summary_path(self._aside, task[0]), content, self._aside)

    def _write(self, name: str, split_uri: str) -> SetSummary:
        path = os.path.join(split_uri, "data-00000-of-00001.tfrecord")
        try:
            bin_path = os.path.join(self._input_base, f"{name}.bin")
            fitted = read_fitted(
                bin_path,
                max_pixels=self._max_image_pixels,
                max_set_mb=self._max_set_mb,
            )
            pairs = fitted.pairs
            image_bytes = check_pair_bytes(pairs, bin_path, self._max_set_mb)
            attributes = self._attributes(name, len(pairs))
        except DataError as error:
            return SetSummary(error=str(error))
        with tfrecord_aside(path, self._aside) as writer:
            for index, same in enumerate(pairs.is_same.tolist()):
                writer.write(
                    example_parts(
                        {
                            **attributes[index],
                            features.IMAGE_A: pairs.images[2 * index],
                            features.IMAGE_B: pairs.images[2 * index + 1],
                            features.IS_SAME: int(same),
                            features.PAIR_INDEX: index,
                            features.SET: name.encode(),
                        }
                    )
                )
        return SetSummary(len(pairs), fitted.resized, fitted.turned, image_bytes)

    def _attributes(self, name: str, pairs: int) -> list[dict[str, list[bytes]]]:
        """The optional features of each pair."""
        path = os.path.join(self._input_base, pair_attributes.attributes_file(name))
        if not filesystem.exists(path):
            return [{} for _ in range(pairs)]
        columns = pair_attributes.read_pair_attributes(path, pairs)
        return [_features({column: values[pair] for column, values in columns.items()}) for pair in range(pairs)]


def _features(values: dict[str, str]) -> dict[str, list[bytes]]:
    """The optional features of one pair, from its value in each column; what isn't known is left out."""
    identity, files = (values.pop(name, "") for name in (pair_attributes.IDENTITY_COLUMN, pair_attributes.FILE_COLUMN))
    lists = {
        features.ATTRIBUTES: [f"{column}={value}".encode() for column, value in sorted(values.items()) if value],
        features.IDENTITIES: [label.encode() for label in identity.split(pair_attributes.BETWEEN) if label],
        features.FILES: [files.encode()] if files else [],
    }
    return {name: entries for name, entries in lists.items() if entries}


class PairExampleGenExecutor(FolderExampleGenExecutor):
    """Writes one split for every set."""

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
        sets, input_base = given.options["sets"], given.folder
        for name in sets:
            path = os.path.join(input_base, f"{name}.bin")
            if not filesystem.exists(path):
                raise DataError(f"{path}: expected a verification set. Received: no such file")
        examples = begin_examples(output_dict, sets)
        tasks = [(name, artifact_utils.get_split_uri([examples], name)) for name in sets]
        aside = os.path.join(examples.uri, "unfinished")
        limits = {name: value for name, value in given.options.items() if name != "sets"}
        self.write_examples(tasks, WriteSet(input_base, aside, **limits))
        written = [SetSummary(**json.loads(filesystem.read_file(_summary_path(aside, name)))) for name in sets]
        filesystem.remove_folder(aside)
        if wrong := [summary.error for summary in written if summary.error]:
            raise DataError(wrong[0])
        examples.set_int_custom_property("pairs", sum(summary.pairs for summary in written))
        examples.set_int_custom_property("resized", sum(summary.resized for summary in written))
        examples.set_int_custom_property("turned", sum(summary.turned for summary in written))
        examples.set_int_custom_property("bytes", sum(summary.image_bytes for summary in written))
        examples.set_string_custom_property("content_digest", given.digest)
        examples.set_string_custom_property("data", given.folder)
