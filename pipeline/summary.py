"""What a run came to, read back from ML Metadata: which nodes ran, what the model reached, where everything lies."""

import dataclasses
import os
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from arcface_common import filesystem
from arcface_common.artifacts import VERIFICATION_FILE
from arcface_common.errors import parse_json_object
from components.record_example_gen.shards import QUARANTINE, QUARANTINE_LIST
from pipeline.config import PipelineConfig
from pipeline.runs.artifacts import MODEL_FOLDER, open_store

_TRAIN_EXAMPLES = "TrainExamples"  # RecordExampleGen's, told from PairExampleGen's by what it counts
# Types of the nodes that look something up in each run, and so have nothing to cache.
LOOK_UPS = ("components.data_digest.component.DataDigest", "components.latest_blessed.component.LatestBlessed")
RESOLVED = "resolved"
_ALREADY_SERVED = "already_served"  # the Pusher's, which imports TensorFlow
_STATES = {metadata_store_pb2.Execution.COMPLETE: "ran", metadata_store_pb2.Execution.CACHED: "cached"}


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """One pipeline run.

    Attributes:
      nodes: node -> "ran", "cached", "resolved" or "failed".
      verification: `verification.json` of the evaluation, or None.
      pushed: folder of the pushed version, or None if the model was not blessed.
      already_served: that version held the same model before, and was not pushed again.
      model: folder of the exported SavedModel, or None.
      tensorboard: folder for TensorBoard, or None.
      report: HTML page about the evaluation, or None.
      holdout: accuracy on the held-out images, how many there are, and the step; None without a hold-out split.
      ingest: what RecordExampleGen counted (see there), and `quarantine`, the list of bad records, or None.
    """

    nodes: dict[str, str]
    verification: dict[str, Any] | None
    pushed: str | None
    already_served: bool
    model: str | None
    tensorboard: str | None
    report: str | None
    holdout: dict[str, Any] | None
    ingest: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)


def summarize(config: PipelineConfig, run: str) -> RunSummary:
    """Reads the executions and artifacts of a run.

    Args:
      config: of the run.
      run: its name in ML Metadata.

    Returns:
      The summary; what a failed run did not reach is None.
    """
    nodes: dict[str, str] = {}
    artifacts: dict[str, metadata_store_pb2.Artifact] = {}
    store = open_store(config.metadata_path)
    context = store.get_context_by_type_and_name("pipeline_run", run)
    executions = store.get_executions_by_context(context.id)
    for execution in sorted(executions, key=lambda e: e.id):
        contexts = store.get_contexts_by_execution(execution.id)
        (node,) = [context.name.rpartition(".")[2] for context in contexts if context.type == "node"]
        state = _STATES.get(execution.last_known_state, "failed")
        nodes[node] = RESOLVED if execution.type in LOOK_UPS and state == "ran" else state
    types = {t.id: t.name for t in store.get_artifact_types()}
    outputs = [
        event.artifact_id
        for event in store.get_events_by_execution_ids([e.id for e in executions])
        if event.type == metadata_store_pb2.Event.OUTPUT
    ]
    for artifact in sorted(store.get_artifacts_by_id(outputs), key=lambda a: a.id):
        name = types[artifact.type_id]
        artifacts[_TRAIN_EXAMPLES if "identities" in artifact.custom_properties else name] = artifact
    return _from_artifacts(nodes, artifacts)


def _from_artifacts(nodes: dict[str, str], artifacts: dict[str, metadata_store_pb2.Artifact]) -> RunSummary:
    def uri(kind: str, *parts: str) -> str | None:
        path = os.path.join(artifacts[kind].uri, *parts) if kind in artifacts else None
        return path if path and os.path.exists(path) else None

    def content(kind: str, name: str) -> dict[str, Any] | None:
        path = uri(kind, name)
        if not path:
            return None
        return parse_json_object(filesystem.read_file(path).decode(errors="replace"), path)

    pushed = artifacts.get("PushedModel")
    properties = pushed.custom_properties if pushed else {}
    destination = properties["pushed_destination"].string_value if "pushed_destination" in properties else None
    return RunSummary(
        nodes=nodes,
        verification=content("ModelEvaluation", VERIFICATION_FILE),
        pushed=destination,
        already_served=_ALREADY_SERVED in properties and bool(properties[_ALREADY_SERVED].int_value),
        model=uri("Model", MODEL_FOLDER),
        tensorboard=uri("ModelRun", "tensorboard"),
        report=uri("ModelEvaluation", "report.html"),
        holdout=content("ModelRun", "holdout.json"),
        ingest=_ingest(artifacts[_TRAIN_EXAMPLES]) if _TRAIN_EXAMPLES in artifacts else None,
    )


def _ingest(examples: metadata_store_pb2.Artifact) -> dict[str, Any]:
    """What RecordExampleGen counted."""
    names = (
        "records",
        "train_records",
        "holdout_records",
        "verify_records",
        "verify_identities",
        "identities",
        "bytes",
        "quarantined",
        "turned",
        "left_out_identities",
        "left_out_images",
    )
    counts: dict[str, Any] = {name: int(examples.custom_properties[name].int_value) for name in names}
    path = os.path.join(examples.uri, QUARANTINE, QUARANTINE_LIST)
    return {**counts, "quarantine": path if counts["quarantined"] else None}
