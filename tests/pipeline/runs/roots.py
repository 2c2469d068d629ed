"""A root as local runs leave it: real folders, and what TFX writes of them into ML Metadata."""

import dataclasses
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import PipelineConfig
from pipeline.runs.artifacts import open_store

MODEL = ("saved_model.pb", "variables/variables.index", "assets.extra/verification.json")
LIVE, DELETED = mlmd.Artifact.LIVE, mlmd.Artifact.DELETED
KINDS = {
    "Examples": ("examples", ["Split-train/data-00000-of-00002.tfrecord", "Split-train/data-00001-of-00002.tfrecord"]),
    "ExampleStatistics": ("statistics", ["Split-train/FeatureStats.pb"]),
    "ExampleAnomalies": ("anomalies", ["Split-train/SchemaDiff.pb"]),
    "Schema": ("schema", ["schema.pbtxt"]),
    "TransformGraph": ("transform_graph", ["transform_fn/saved_model.pb", "transformed_metadata/schema.pbtxt"]),
    "TransformCache": ("updated_analyzer_cache", ["cache/MANIFEST"]),
    "ModelRun": ("model_run", ["model.json", "checkpoint/model.index"]),
    "Model": ("model", ["Format-Serving/saved_model.pb", "Format-Serving/variables/variables.index"]),
    "ModelEvaluation": ("evaluation", ["verification.json", "report.html"]),
    "ModelBlessing": ("blessing", ["verification.json", "BLESSED"]),
}


@dataclasses.dataclass
class Root:
    """A root as runs leave it: real folders, and what TFX writes of them into ML Metadata."""

    path: Path

    @property
    def config(self):
        return PipelineConfig("data", str(self.path))

    @property
    def store(self):
        return open_store(str(self.path / "metadata.sqlite"))

    def add(self, execution, node, output, kind, files, split_names="", **custom):
        """An artifact with these files in its folder; returns its number."""
        folder = self.path / "pipeline" / node / output / str(execution)
        folder.mkdir(parents=True)
        for file in files:
            write(folder / file)
        store = self.store
        type_ = mlmd.ArtifactType(name=kind, properties={"split_names": mlmd.STRING})
        artifact = mlmd.Artifact(
            type_id=store.put_artifact_type(type_, can_add_fields=True), uri=str(folder), state=LIVE
        )
        if split_names:
            artifact.properties["split_names"].string_value = split_names
        for name, value in custom.items():
            field = "int_value" if isinstance(value, int) else "string_value"
            setattr(artifact.custom_properties[name], field, value)
        (artifact.id,) = store.put_artifacts([artifact])
        _event(store, execution, artifact.id, mlmd.Event.OUTPUT)
        return artifact.id

    def execution(self, node, *inputs):
        """An execution that read these artifacts; returns its number."""
        store = self.store
        (number,) = store.put_executions(
            [mlmd.Execution(type_id=store.put_execution_type(mlmd.ExecutionType(name=node)))]
        )
        for artifact in inputs:
            _event(store, number, artifact, mlmd.Event.INPUT)
        return number

    def trained_and_pushed(self, version):
        """A blessed model, and its push; returns the numbers of model, blessing and pushed model."""
        run = self.add(self.execution("Trainer"), "Trainer", "model_run", "ModelRun", KINDS["ModelRun"][1])
        execution = self.execution("Exporter", run)
        model = self.add(execution, "Exporter", "model", "Model", [f"Format-Serving/{file}" for file in MODEL[:2]])
        evaluation = self.execution("VerificationEvaluator", model)
        verdict = {"blessed": 1, "current_model_id": model}
        files = ["BLESSED", "verification.json"]
        blessing = self.add(evaluation, "VerificationEvaluator", "blessing", "ModelBlessing", files, **verdict)
        destination = self.path / "serving" / "arcface" / version
        for file in MODEL:
            write(destination / file, f"{version} {file}")
        push = self.execution("Pusher", model, blessing)
        properties = {"pushed": 1, "pushed_destination": str(destination)}
        return model, blessing, self.add(push, "Pusher", "pushed_model", "PushedModel", MODEL, **properties)

    def run(self, name, *executions):
        """A run that did these executions."""
        store = self.store
        kind = store.put_context_type(mlmd.ContextType(name="pipeline_run"))
        (context,) = store.put_contexts([mlmd.Context(type_id=kind, name=name)])
        done = [mlmd.Association(context_id=context, execution_id=execution) for execution in executions]
        store.put_attributions_and_associations([], done)

    def states(self):
        return {artifact.id: artifact.state for artifact in self.store.get_artifacts()}

    def uri(self, number):
        (artifact,) = self.store.get_artifacts_by_id([number])
        return Path(artifact.uri)


def write(path, content="content"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def _event(store, execution, artifact, kind):
    store.put_events([mlmd.Event(execution_id=execution, artifact_id=artifact, type=kind)])
