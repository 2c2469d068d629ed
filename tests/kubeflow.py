"""A stand-in for Kubeflow Pipelines' backend, as its sources say: what its compiler refuses, its cache, its launcher.

Read in kubeflow/pipelines' backend/src/v2: `compiler/visitor.go`, `compiler/argocompiler/dag.go`,
`driver/driver.go`, `cacheutils/cache.go`, `component/launcher_v2.go`. What this lacks: pods, Argo, retries. The object
store is a folder, from and to which artifacts are copied as the launcher does. Where `make kfp-tools` has built the
backend's own compiler, tests hold it to the same refusals; `kfp_backend` runs the steps by its driver and launcher.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.helpers import write_pairs, write_records
from tests.processes import cli, python

LOOK_UPS = {"DataDigest", "LatestBlessedModel"}  # the steps that no cache answers
_SETTINGS = (
    "train.steps=2",
    "train.batch_size=8",
    "train.warmup_steps=1",
    "evaluation.sets=lfw,cfp_fp",
    "ingest.verify_identities=0.5",
    "evaluation.conditions=[lfw.accuracy >= 0, lfw.accuracy change >= -1]",
)


class RefusedError(Exception):
    """What the backend doesn't take."""


_DEMO = ["--preset", "demo", *(word for setting in _SETTINGS for word in ("--set", setting))]


def compile_demo(folder: Path, *options: str, root: str = "") -> dict[str, list[dict[str, Any]]]:
    """The demo's pipeline over a small data set: file's name without ending -> its documents.

    Args:
      folder: gets the data set at `data`, the files, and the empty folder `run`.
      options: more words of `compile`.
      root: what outlives a run; "" for the folder's `root`.
    """
    write_records(folder / "data", [i // 8 for i in range(48)])
    for name in ("lfw", "cfp_fp"):
        write_pairs(folder / "data", name, 20)
    output = folder / "pipeline.yaml"
    command = [
        "compile",
        "--output",
        str(output),
        "--data",
        str(folder / "data"),
        "--root",
        root or str(folder / "root"),
    ]
    compiled = cli(*command, "--image", "arcface", *_DEMO, *options)
    assert compiled.returncode == 0, compiled.stderr
    (folder / "run").mkdir()
    return {path.stem: list(yaml.safe_load_all(path.read_text())) for path in folder.glob("pipeline*.yaml")}


def run_demo(folder: Path, environment: Mapping[str, str]) -> Path:
    """The version that the same pipeline pushes when it runs on this machine.

    Args:
      folder: that of `compile_demo`; gets the root `local`.
      environment: variables beside this process's.
    """
    ran = cli(
        *("run", "--data", str(folder / "data"), "--root", str(folder / "local"), *_DEMO),
        env={**os.environ, **environment},
    )
    assert ran.returncode == 0, ran.stderr
    return pushed(folder / "local")


def pushed(root: Path) -> Path:
    """The one version that is served beneath a root."""
    (version,) = (root / "serving" / "arcface").iterdir()
    return version


def change_in_place(path: Path) -> None:
    """Changes one image of a .rec file, whose size and date stay."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    at = content.rindex(b"\xff\xd9")  # one image's end, which decoders don't miss
    content[at - 40] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


def accept(document: dict[str, Any]) -> pipeline_spec_pb2.PipelineSpec:
    """The pipeline spec, as the backend's compiler reads and walks it.

    Raises:
      RefusedError: what it answers an error to.
    """
    try:
        spec = json_format.ParseDict(document, pipeline_spec_pb2.PipelineSpec())
    except json_format.ParseError as error:
        raise RefusedError(f"failed to parse pipeline spec: {error}") from error
    if not spec.pipeline_info.name:
        raise RefusedError("pipelineInfo.name is empty")
    if "root" in spec.components:
        raise RefusedError('component name "root" is reserved')
    executors = pipeline_spec_pb2.PipelineDeploymentConfig()
    json_format.ParseDict(document.get("deploymentSpec", {}), executors, ignore_unknown_fields=True)
    for dag in (spec.root, *(one for one in spec.components.values() if one.HasField("dag"))):
        _accept_dag(spec, executors.executors, dag)
    return spec


def _accept_dag(spec: pipeline_spec_pb2.PipelineSpec, executors: Any, dag: Any) -> None:
    """Walks the tasks of the root, or of a component that is a graph itself."""
    tasks = dag.dag.tasks
    if all(_comes_last(task) for task in tasks.values()):
        raise RefusedError("DAG must contain one or more non-exit tasks")
    for name, task in tasks.items():
        component = spec.components.get(task.component_ref.name)
        if component is None:
            raise RefusedError(f'cannot find component ref name="{task.component_ref.name}" for task name="{name}"')
        if not component.HasField("dag"):
            _accept_executor(executors, component.executor_label)
        producers = [each.task_output_parameter.producer_task for each in task.inputs.parameters.values()]
        producers += [each.task_output_artifact.producer_task for each in task.inputs.artifacts.values()]
        for producer in filter(None, [*producers, *task.dependent_tasks]):
            if producer not in tasks:
                raise RefusedError(f'unknown producer task "{producer}" in DAG')
        for parameter in task.inputs.parameters.values():
            asked = parameter.component_input_parameter
            if asked and asked not in dag.input_definitions.parameters:
                raise RefusedError(f'parent DAG does not have input parameter "{asked}"')
            if parameter.task_final_status.producer_task and not _comes_last(task):
                raise RefusedError(f'task "{name}" is no exit task, and asks for a final status')


def _comes_last(task: Any) -> bool:
    return task.trigger_policy.strategy == task.trigger_policy.ALL_UPSTREAM_TASKS_COMPLETED


def _accept_executor(executors: Any, label: str) -> None:
    if label not in executors:
        raise RefusedError(f'executor(label="{label}") not found in deployment config')
    kind = executors[label].WhichOneof("spec")
    if kind not in ("container", "importer"):
        raise RefusedError(f'executor(label="{label}"): non-container and non-importer executor not implemented')
    if kind == "container" and not executors[label].container.command:
        raise RefusedError("command and arguments are empty")


class Backend:
    """Runs a spec's containers in order: resolves inputs, moves artifacts, fills the placeholder, caches as KFP does.

    Attributes:
      inputs: task -> ExecutorInput's `inputs` of the last run.
      hits: tasks of the last run that came from the cache.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is where the store and each step's own folder lie."""
        self._folder = folder
        self._store = folder / "store"
        self._cache: dict[str, dict[str, Any]] = {}
        self._made = 0
        self.inputs: dict[str, dict[str, Any]] = {}
        self.hits: list[str] = []

    def run(
        self, document: dict[str, Any], only: set[str] | None = None, parameters: dict[str, Any] | None = None
    ) -> None:
        """Runs each task as soon as those it depends on have run.

        Args:
          document: the pipeline spec.
          only: the tasks to run, with all that they need; None for all.
          parameters: of the run, in place of their default values.
        """
        accept(document)
        self._document = document
        defined = document["root"].get("inputDefinitions", {}).get("parameters", {})
        assert set(parameters or {}) <= set(defined)
        self._parameters = {name: one["defaultValue"] for name, one in defined.items()} | (parameters or {})
        self._outputs: dict[str, dict[str, Any]] = {}
        self.inputs, self.hits = {}, []
        tasks = document["root"]["dag"]["tasks"]
        for name in _in_order(tasks):
            if only is None or name in only:
                self._run_task(name, tasks[name])

    def _run_task(self, name: str, task: dict[str, Any]) -> None:
        component = self._document["components"][task["componentRef"]["name"]]
        container = self._document["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        inputs = self.inputs[name] = self._resolved(task.get("inputs", {}))
        key = _cache_key(inputs, component, container)
        if task.get("cachingOptions", {}).get("enableCache") and key in self._cache:
            self._outputs[name] = self._cache[key]
            self.hits.append(name)
            return
        self._outputs[name] = self._cache[key] = self._launch(name, inputs, component, container)

    def _resolved(self, inputs: dict[str, Any]) -> dict[str, Any]:
        parameters, artifacts = {}, {}
        for key, value in inputs.get("parameters", {}).items():
            if produced := value.get("taskOutputParameter"):
                made = self._outputs[produced["producerTask"]]["parameters"]
                parameters[key] = made[produced["outputParameterKey"]]
            elif "componentInputParameter" in value:
                parameters[key] = self._parameters[value["componentInputParameter"]]
            else:
                parameters[key] = value["runtimeValue"]["constant"]
        for key, value in inputs.get("artifacts", {}).items():
            produced = value["taskOutputArtifact"]
            made = self._outputs[produced["producerTask"]]["artifacts"]
            # The driver tells no type of an input (`ToRuntimeArtifact` in metadata/client.go).
            untyped = {**made[produced["outputArtifactKey"]], "type": {"instanceSchema": ""}}
            artifacts[key] = {"artifacts": [untyped]}
        return {"parameterValues": parameters, "artifacts": artifacts}

    def _launch(
        self, name: str, inputs: dict[str, Any], component: dict[str, Any], container: dict[str, Any]
    ) -> dict[str, Any]:
        """Runs a container; what it wrote goes before what the driver provisioned. Hooks of its life are not run."""
        self._made += 1
        folder = self._folder / name / str(self._made)
        definitions = component.get("outputDefinitions", {})
        artifacts = {
            key: {
                "name": f"{100 * self._made + i}",
                "uri": f"minio://mlpipeline/v2/{name}/{self._made}/{key}",
                "type": value["artifactType"],
            }
            for i, (key, value) in enumerate(definitions.get("artifacts", {}).items())
        }
        folder.mkdir(parents=True)
        output_file = folder / "executor_output.json"
        outputs = {
            "artifacts": {key: {"artifacts": [value]} for key, value in artifacts.items()},
            "parameters": {
                key: {"outputFile": str(folder / f"{key}.txt")} for key in definitions.get("parameters", {})
            },
            "outputFile": str(output_file),
        }
        given = json.dumps({"inputs": inputs, "outputs": outputs})
        words = [word.replace("{{$}}", given) for word in (*container["command"], *container.get("args", []))]
        for many in inputs["artifacts"].values():
            for artifact in many["artifacts"]:
                _copy(self._store / _key(artifact), folder / "minio" / _key(artifact))
        for artifact in artifacts.values():
            (folder / "minio" / _key(artifact)).parent.mkdir(parents=True, exist_ok=True)
        # In a container, the launcher's folders lie in the topmost one.
        start = f"from pipeline.runners.container import main; main({str(folder)!r})"
        assert words[:3] == ["python", "-m", "pipeline.runners.container"]
        result = python(["-c", start, *words[3:]], cwd=self._folder)
        assert result.returncode == 0, f"{name}: {result.stderr[-3000:]}"
        written = json.loads(output_file.read_text())
        assert set(written.get("parameterValues", {})) == set(definitions.get("parameters", {})), name
        for key, found in written.get("artifacts", {}).items():
            artifacts[key] = {**artifacts[key], **{k: v for k, v in found["artifacts"][0].items() if k != "name"}}
        for artifact in artifacts.values():
            _copy(folder / "minio" / _key(artifact), self._store / _key(artifact))
        shutil.rmtree(folder)
        return {"artifacts": artifacts, "parameters": written.get("parameterValues", {})}


def _key(artifact: dict[str, Any]) -> str:
    scheme, _, key = artifact["uri"].partition("://")
    assert scheme == "minio", artifact
    return key


def _copy(source: Path, target: Path) -> None:
    """Copies a file or a folder, and empty folders no more than an object store does."""
    files = [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]
    for path in files:
        if path.exists():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _in_order(tasks: dict[str, Any]) -> Iterator[str]:
    done: set[str] = set()
    while len(done) < len(tasks):
        ready = [
            name for name in sorted(tasks) if name not in done and done >= set(tasks[name].get("dependentTasks", []))
        ]
        assert ready, f"no order for {set(tasks) - done}"
        done |= set(ready)
        yield from ready


def _cache_key(inputs: dict[str, Any], component: dict[str, Any], container: dict[str, Any]) -> str:
    """What goes into the backend's key: names of input artifacts, parameters' values, outputs' types, the container."""
    names = {key: [each["name"] for each in value["artifacts"]] for key, value in inputs["artifacts"].items()}
    words = [container["image"], *container["command"], *container.get("args", [])]
    parts = [names, inputs["parameterValues"], component.get("outputDefinitions", {}), words]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
