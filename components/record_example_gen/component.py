"""Spec of RecordExampleGen."""

import json

from tfx.dsl.components.base import executor_spec

from components.example_gen_base import FolderExampleGen
from components.record_example_gen.executor import RecordExampleGenExecutor


class RecordExampleGen(FolderExampleGen):
    """Ingests `train.rec` and `train.idx` as InsightFace publishes them.

    Component `outputs` contains:

     - `examples`: Examples with the split `train`: `image` (the untouched JPEG or PNG bytes), `label` (int64 identity
       as in the record), `key` (int64 record key). Custom properties count `records`, `identities` and `bytes`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(RecordExampleGenExecutor)

    def __init__(self, input_base: str, *, seed: int = 1, shard_bytes: int = 128 << 20, code_version: str = "") -> None:
        """Makes the component.

        Args:
          input_base: folder with `train.rec` and, unless it is to be rebuilt by a scan, `train.idx`.
          seed: of the global permutation of the records.
          shard_bytes: aimed size of a shard; 128 MiB by default.
          code_version: digest of the source files behind the executor.
        """
        options = json.dumps({"seed": seed, "shard_bytes": shard_bytes}, sort_keys=True)
        super().__init__(input_base, {"records": "train.*"}, options, code_version)
