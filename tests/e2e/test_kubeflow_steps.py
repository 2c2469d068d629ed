"""Every step of the compiled pipeline, started as Kubeflow would start its container, up to the pushed model."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers import write_pairs, write_records
from tests.processes import cli, python

pytestmark = pytest.mark.e2e

SETTINGS = (
    "train.steps=2",
    "train.batch_size=8",
    "train.warmup_steps=1",
    "evaluation.sets=lfw,cfp_fp",
    "ingest.verify_identities=0.5",
    "evaluation.conditions=[lfw.accuracy >= 0, lfw.accuracy change >= 0]",
)


class Cluster:
    """What Kubeflow does for a pipeline of containers: resolves inputs, fills the placeholder, keeps the outputs."""

    def __init__(self, spec: dict[str, Any], folder: Path) -> None:
        self._tasks = spec["root"]["dag"]["tasks"]
        self._components = spec["components"]
        self._executors = spec["deploymentSpec"]["executors"]
        self._folder = folder
        self._outputs: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        """Runs each task as soon as those it depends on have run."""
        todo = {name for name in self._tasks if "container" in self._executors[self._label(name)]}
        resolvers = set(self._tasks) - todo  # look-ups that Kubeflow answers itself: there is no blessed model yet
        done = set(resolvers)
        while todo:
            ready = sorted(name for name in todo if set(self._tasks[name].get("dependentTasks", [])) <= done)
            assert ready, f"no order for {todo}"
            for name in ready:
                self._run_task(name)
                done.add(name)
                todo.discard(name)

    def _label(self, name: str) -> str:
        return self._components[self._tasks[name]["componentRef"]["name"]]["executorLabel"]

    def _run_task(self, name: str) -> None:
        task = self._tasks[name]
        component = self._components[task["componentRef"]["name"]]
        container = self._executors[component["executorLabel"]]["container"]
        folder = self._folder / name
        output_file = folder / "executor_output.json"
        inputs = task.get("inputs", {})
        parameters = {k: v["runtimeValue"]["constant"] for k, v in inputs.get("parameters", {}).items()}
        artifacts = {}
        for key, value in inputs.get("artifacts", {}).items():
            source = value["taskOutputArtifact"]
            if source["producerTask"] in self._outputs:
                artifacts[key] = {"artifacts": [self._outputs[source["producerTask"]][source["outputArtifactKey"]]]}
        outputs = {}
        for number, (key, value) in enumerate(component.get("outputDefinitions", {}).get("artifacts", {}).items()):
            (folder / key).mkdir(parents=True)
            identifier = (
                f"projects/p/locations/l/metadataStores/default/artifacts/{100 * len(self._outputs) + number + 1}"
            )
            artifact = {"name": identifier, "uri": str(folder / key), "type": value["artifactType"]}
            outputs[key] = {"artifacts": [artifact]}
        executor_input = json.dumps(
            {
                "inputs": {"parameterValues": parameters, "artifacts": artifacts},
                "outputs": {"artifacts": outputs, "outputFile": str(output_file)},
            }
        )
        for command in (container.get("lifecycle", {}).get("preCacheCheck"), container):
            if command:
                words = [
                    w.replace("{{$}}", executor_input) for w in command.get("command", []) + command.get("args", [])
                ]
                assert words[0].startswith("python")
                result = python(words[1:], cwd=self._folder)
                assert result.returncode == 0, f"{name}: {result.stderr[-3000:]}"
        written = json.loads(output_file.read_text()).get("artifacts", {})
        self._outputs[name] = {
            key: {**value["artifacts"][0], **written.get(key, {}).get("artifacts", [{}])[0]}
            for key, value in outputs.items()
        }


def test_the_compiled_steps_end_in_a_pushed_model(tmp_path):
    write_records(tmp_path / "data", [i // 8 for i in range(48)])
    for name in ("lfw", "cfp_fp"):
        write_pairs(tmp_path / "data", name, 20)
    output = tmp_path / "pipeline.yaml"
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    command = ["compile", "--output", str(output), "--data", str(tmp_path / "data"), "--root", str(tmp_path / "root")]
    compiled = cli(*command, "--preset", "demo", "--image", "arcface", *settings)
    assert compiled.returncode == 0, compiled.stderr
    (tmp_path / "run").mkdir()
    Cluster(next(iter(yaml.safe_load_all(output.read_text()))), tmp_path / "run").run()
    (version,) = (tmp_path / "root" / "serving" / "arcface").iterdir()
    verification = json.loads((version / "assets.extra" / "verification.json").read_text())
    assert list(verification["sets"]) == ["lfw", "cfp_fp", "verify"]
    assert verification["blessed"]
    assert [condition["holds"] for condition in verification["conditions"]] == [True, True]
    assert set(verification["leaks"]) == {"lfw", "cfp_fp", "verify"}
    assert verification["leaks"]["verify"]["identities"] == 3
    assert (tmp_path / "run" / "VerificationEvaluator" / "evaluation" / "report.html").exists()
