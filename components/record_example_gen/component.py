"""Spec of RecordExampleGen."""

from tfx.dsl.components.base import executor_spec
from tfx.dsl.placeholder import placeholder

from components.example_gen_base import FolderExampleGen
from components.formats import recordio
from components.formats.identity_names import IDENTITIES
from components.record_example_gen.executor import RecordExampleGenExecutor
from components.record_example_gen.settings import IngestSettings

FILES = (recordio.REC_FILE, recordio.IDX_FILE, IDENTITIES)


class RecordExampleGen(FolderExampleGen):
    """Ingests `train.rec` and `train.idx` as InsightFace publishes them.

    Component `outputs` contains:

     - `examples`: Examples with the split `train`, and `holdout` and `verify` if they are asked for: `image` (the
       untouched JPEG or PNG bytes; an image with an EXIF orientation is turned upright, and a PNG then), `label` (int64
       identity as in the record), `key` (int64 record key). Custom properties count `records`, of them `train_records`
       and `holdout_records`, `identities`, beside them `verify_records` and `verify_identities`, of all `bytes`,
       `quarantined`, `turned`, `left_out_identities` and `left_out_images`, and hold the `content_digest` of the input
       files and their folder as `data`. Beside the splits lie what `arcface_common.digests` names, without the split
       `verify`, and the folder `quarantine`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(RecordExampleGenExecutor)

    def __init__(
        self,
        input_base: str,
        settings: IngestSettings | None = None,
        *,
        work: str = "",
        content: str | placeholder.Placeholder = "",
    ) -> None:
        """Makes the component.

        Args:
          input_base: folder with `train.rec` and, unless it is to be rebuilt by a scan, `train.idx`. By the names of
            `identities.txt`, if it is there, is chosen whom to keep out.
          settings: order, shards, and what to do about bad records.
          work: folder that outlives a run, for shards of a run that was interrupted; "" keeps none.
          content: digest of `FILES` in the folder, for the cache key.
        """
        options = (settings or IngestSettings()).to_dict()
        super().__init__(input_base, FILES, options, work=work, content=content)
