"""Spec of PairExampleGen."""

from tfx.dsl.components.base import executor_spec

from arcface_common import features
from components.example_gen_base import FolderExampleGen
from components.formats.pair_attributes import attributes_file
from components.pair_example_gen.executor import PairExampleGenExecutor


class PairExampleGen(FolderExampleGen):
    """Ingests `.bin` verification sets as InsightFace publishes them.

    Component `outputs` contains:

     - `examples`: Examples with one split a set: `image_a`, `image_b` (the untouched image bytes, but for images that
       are not 112x112, see `verification_resize`), `is_same` (int64, 0 or 1), `pair_index` (int64, the place in the
       published list), `set` (the set's name); of sets with a CSV beside them, `attributes` (bytes, "column=value"
       each), `identities` (bytes, the labels of the people shown) and `files` (bytes, both names). Custom properties
       count `pairs`, `resized` and `turned` images and `bytes`, and hold the `content_digest` of the input files and
       their folder as `data`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(PairExampleGenExecutor)

    def __init__(
        self,
        input_base: str,
        sets: tuple[str, ...],
        *,
        max_image_pixels: int = features.MAX_IMAGE_PIXELS,
        max_set_mb: int = features.MAX_SET_MB,
        work: str = "",
    ) -> None:
        """Makes the component.

        Args:
          input_base: folder with `<set>.bin` for every set, and optionally `<set>.csv` (see `pair_attributes`).
          sets: their names, e.g. ("lfw", "cfp_fp").
          max_image_pixels: width times height of an image at most, known before it is decoded.
          max_set_mb: MiB of images that a set may become, whose pairs are each written with their own.
          work: folder that outlives a run, for digests of files that have not changed; "" keeps none.
        """
        files = [file for name in sets for file in (f"{name}.bin", attributes_file(name))]
        options = {"sets": list(sets), "max_image_pixels": max_image_pixels, "max_set_mb": max_set_mb}
        super().__init__(input_base, files, options, work=work)
