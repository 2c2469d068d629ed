"""Spec of PairExampleGen."""

import dataclasses
from collections.abc import Iterable

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.dsl.placeholder import placeholder
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter

from arcface_common import features
from components.datasets.kept_out import KeepOut
from components.example_gen_base import FolderExampleGen, FolderExampleGenSpec
from components.formats.pair_attributes import attributes_file
from components.formats.recordio import REC_FILE
from components.pair_example_gen.executor import RECORDS_KEY, PairExampleGenExecutor


def files_of(sets: Iterable[str]) -> list[str]:
    """Names of the files that verification sets are made of, of which the CSVs needn't be there."""
    return [file for name in sets for file in (f"{name}.bin", attributes_file(name))]


class PairExampleGenSpec(FolderExampleGenSpec):
    """The spec with the Examples that a set may be drawn of."""

    INPUTS = {RECORDS_KEY: ChannelParameter(type=standard_artifacts.Examples, optional=True)}


class PairExampleGen(FolderExampleGen):
    """Ingests `.bin` verification sets as InsightFace publishes them, and draws one of identities that were kept out.

    Component `outputs` contains:

     - `examples`: Examples with one split a set: `image_a`, `image_b` (the untouched image bytes, but for images that
       are not 112x112, see `verification_resize`), `is_same` (int64, 0 or 1), `pair_index` (int64, the place in the
       published list), `set` (the set's name); of sets with a CSV beside them, `attributes` (bytes, "column=value"
       each), `identities` (bytes, the labels of the people shown) and `files` (bytes, both names); of the set that is
       drawn, the latter two. Custom properties
       count `pairs`, `resized` and `turned` images and `bytes`, and hold the `content_digest` of the input files and
       their folder as `data`.
    """

    SPEC_CLASS = PairExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(PairExampleGenExecutor)

    def __init__(
        self,
        input_base: str,
        sets: tuple[str, ...],
        *,
        max_image_pixels: int = features.MAX_IMAGE_PIXELS,
        max_set_mb: int = features.MAX_SET_MB,
        work: str = "",
        content: str | placeholder.Placeholder = "",
        drawn: KeepOut | None = None,
        records: types.BaseChannel | None = None,
    ) -> None:
        """Makes the component.

        Args:
          input_base: folder with `<set>.bin` for every set, and optionally `<set>.csv` (see `pair_attributes`).
          sets: their names, e.g. ("lfw", "cfp_fp").
          max_image_pixels: width times height of an image at most, known before it is decoded.
          max_set_mb: MiB of images that a set may become, whose pairs are each written with their own.
          work: folder that outlives a run, for digests of files that have not changed; "" keeps none.
          content: digest of `files_of(sets)` in the folder, for the cache key.
          drawn: one more set: its name, and how its pairs are drawn.
          records: of RecordExampleGen, with the identities that were kept out; given with `drawn`.
        """
        # TFX's driver needs a file, also where all that is wanted is drawn of RecordExampleGen's Examples.
        files = files_of(sets) or [REC_FILE]
        options = {"sets": list(sets), "max_image_pixels": max_image_pixels, "max_set_mb": max_set_mb}
        if drawn:
            options["drawn"] = dataclasses.asdict(drawn)
        super().__init__(input_base, files, options, work=work, content=content, **{RECORDS_KEY: records})
