"""What a run came to, read back from ML Metadata: which nodes ran, what the model reached, where everything lies."""

import dataclasses
import json
import os
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from pipeline.config import PipelineConfig

_RESOLVER = "tfx.dsl.components.common.resolver.Resolver"
_STATES = {metadata_store_pb2.Execution.COMPLETE: "ran", metadata_store_pb2.Execution.CACHED: "cached"}


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """One pipeline run.

    Attributes:
      nodes: node -> "ran", "cached", "resolved" or "failed".
      verification: `verification.json` of the evaluation, or None.
      pushed: folder of the pushed version, or None if the model was not blessed.
      model: folder of the exported SavedModel, or None.
      tensorboard: folder for TensorBoard, or None.
    """

    nodes: dict[str, str]
    verification: dict[str, Any] | None
    pushed: str | None
    model: str | None
    tensorboard: str | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)


def summarize(config: PipelineConfig) -> RunSummary:
    """Reads the executions and artifacts of the latest run.

    Args:
      config: of the run.

    Returns:
      The summary; what a failed run did not reach is None.
    """
    nodes: dict[str, str] = {}
    artifacts: dict[str, metadata_store_pb2.Artifact] = {}
    connection = metadata.sqlite_metadata_connection_config(config.metadata_path)
    with metadata.Metadata(connection) as handle:
        store = handle.store
        runs = store.get_contexts_by_type("pipeline_run")
        if not runs:
            return RunSummary({}, None, None, None, None)
        executions = store.get_executions_by_context(max(run.id for run in runs))
        for execution in sorted(executions, key=lambda e: e.id):
            contexts = store.get_contexts_by_execution(execution.id)
            (node,) = [context.name.rpartition(".")[2] for context in contexts if context.type == "node"]
            state = _STATES.get(execution.last_known_state, "failed")
            # A Resolver looks things up in ML Metadata, and so has nothing to cache.
            nodes[node] = "resolved" if execution.type == _RESOLVER else state
        types = {t.id: t.name for t in store.get_artifact_types()}
        outputs = [
            event.artifact_id
            for event in store.get_events_by_execution_ids([e.id for e in executions])
            if event.type == metadata_store_pb2.Event.OUTPUT
        ]
        for artifact in sorted(store.get_artifacts_by_id(outputs), key=lambda a: a.id):
            artifacts[types[artifact.type_id]] = artifact
    return _from_artifacts(nodes, artifacts)


def _from_artifacts(nodes: dict[str, str], artifacts: dict[str, metadata_store_pb2.Artifact]) -> RunSummary:
    def uri(kind: str, *parts: str) -> str | None:
        path = os.path.join(artifacts[kind].uri, *parts) if kind in artifacts else None
        return path if path and os.path.exists(path) else None

    verification = None
    if path := uri("ModelEvaluation", "verification.json"):
        with open(path) as f:
            verification = json.load(f)
    pushed = artifacts.get("PushedModel")
    destination = pushed.custom_properties["pushed_destination"].string_value if pushed else ""
    return RunSummary(
        nodes=nodes,
        verification=verification,
        pushed=destination or None,
        model=uri("Model", "Format-Serving"),
        tensorboard=uri("ModelRun", "tensorboard"),
    )


def verification_table(sets: dict[str, dict[str, Any]]) -> str:
    """The figures of each set as a table: accuracy and its spread, TAR at FAR 1e-3, XNorm."""
    lines = [f"{'set':<10} {'pairs':>6}  {'accuracy ± std':<17}  {'TAR@FAR=1e-3':<12}  {'XNorm':>7}"]
    for name, figures in sets.items():
        accuracy = f"{figures['accuracy']:.4f} ± {figures['accuracy_std']:.4f}"
        lines.append(
            f"{name:<10} {figures['pairs']:>6.0f}  {accuracy:<17}  {figures['tar']:<12.4f}  {figures['xnorm']:>7.3f}"
        )
    return "\n".join(lines)


def verdict_lines(verification: dict[str, Any]) -> list[str]:
    """The verdict in words: each condition with its figure, and the latest blessed model on the same pairs."""
    lines = ["blessed" if verification["blessed"] else "NOT blessed"]
    for condition in verification["conditions"]:
        value = "not evaluated" if condition["value"] is None else f"{condition['value']:.4f}"
        sign = "≥" if condition["holds"] else "<"
        lines.append(f"  {condition['set']} {condition['figure']} {value} {sign} {condition['lower_bound']:g}")
    if verification["baseline"] is None:
        lines.append("  first model: these bounds alone decide")
    else:
        figures = ", ".join(f"{name} {values['accuracy']:.4f}" for name, values in verification["baseline"].items())
        lines.append(f"  blessed before: {figures}")
    return lines
