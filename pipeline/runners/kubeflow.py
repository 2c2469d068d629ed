"""Compiles the same pipeline for Kubeflow Pipelines and for Vertex AI Pipelines: one graph, two files (spec 2.1)."""

import json
import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import yaml

from arcface_common.aside import file_aside
from pipeline.config import PipelineConfig
from pipeline.runners.cluster_jobs import ClusterJob
from pipeline.runners.notice import add_notice
from pipeline.runners.pods import add_resources, platform_spec
from pipeline.summary import LOOK_UPS

# What a person may change for a run on the cluster's page: name, what it means, and the inputs that get it. TFX's own
# RuntimeParameter compiles to one without a default value.
_PARAMETERS = (
    (
        "data",
        "Folder of the data set, as the pods see it.",
        (("DataDigest", "data"), ("RecordExampleGen", "input_base"), ("PairExampleGen", "input_base")),
    ),
    ("steps", "Optimizer steps; warm-ups and milestones keep their shares of them.", (("Trainer", "steps"),)),
    (
        "conditions",
        "What a model must fulfil to be pushed, with commas between.",
        (("VerificationEvaluator", "conditions"), ("DataDigest", "conditions")),
    ),
)
Platform = Literal["kubeflow", "vertex"]


def compile_pipeline(
    config: PipelineConfig,
    image: str,
    output: str,
    platform: Platform = "kubeflow",
    cluster_job: ClusterJob | None = None,
) -> list[str]:
    """Writes the pipeline, aside first, then renamed, and beside it what pods of their own train by.

    | platform | file |
    |---|---|
    | kubeflow | YAML of the pipeline spec, and of Kubernetes' spec of the pods where there is one |
    | vertex | JSON of a PipelineJob: the same spec, and the root that a run begins with |

    Args:
      config: `data` and `root` as the cluster's pods see them, e.g. gs:// or s3:// paths or a mounted volume.
      image: container image with this project installed.
      output: path of the file; "-runtime" and "-trainjob" go before the ending of those beside it.
      platform: what runs it.
      cluster_job: how pods of their own train, on Kubeflow; None trains in the step's.

    Returns:
      The paths that were written.

    Raises:
      ConfigError: a GPU by another platform's name.
    """
    if platform == "kubeflow":
        config.kubeflow.refuse_on_kubernetes()
    submitted = cluster_job.manifest(config) if cluster_job else None
    job = _compiled(config, image, submitted)
    spec = job["pipelineSpec"]
    _add_parameters(spec)
    steps = cluster_job.left_to_steps() if cluster_job else config.kubeflow
    if config.kubeflow.notify:
        add_notice(spec, image, config.kubeflow.notify)
    add_resources(spec, steps)
    pods = platform_spec(spec, steps)
    files: dict[str, list[Any]] = {output: [job] if platform == "vertex" else [spec, *([pods] if pods else [])]}
    if cluster_job:
        stem, ending = os.path.splitext(output)
        files[f"{stem}-runtime{ending}"] = cluster_job.applied_before(config)
        files[f"{stem}-{cluster_job.kind}{ending}"] = [submitted]
    for path, documents in files.items():
        with file_aside(Path(path).absolute()) as aside, open(aside, "w", encoding="utf-8") as file:
            if platform == "vertex":
                json.dump(documents[0], file, indent=2, sort_keys=True)
            else:
                yaml.safe_dump_all(documents, file)
    return list(files)


def _compiled(config: PipelineConfig, image: str, submitted: dict[str, Any] | None) -> dict[str, Any]:
    """The pipeline as KFP's PipelineJob; `submitted` is what the Trainer's step submits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own deprecations
        from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

        from pipeline.create import create_pipeline

        pipeline = create_pipeline(config, cluster_job=submitted)
        runner_config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            display_name=config.name,
            default_image=image,
            default_commands=["python", "-m", "pipeline.runners.container"],
            use_pipeline_spec_2_1=True,
        )
        runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config=runner_config)
        job: dict[str, Any] = runner.run(pipeline, write_out=False)
    look_ups = [component.id for component in pipeline.components if component.type in LOOK_UPS]
    _make_runnable(job["pipelineSpec"], look_ups)
    return job


def _make_runnable(spec: dict[str, Any], look_ups: Collection[str]) -> None:
    """Changes what TFX 1.21 compiles and Kubeflow Pipelines refuses or takes otherwise.

    Args:
      spec: the pipeline spec.
      look_ups: names of the tasks that always run.
    """
    for name, task in spec["root"]["dag"]["tasks"].items():
        if name in look_ups:
            task.pop("cachingOptions", None)
        for parameter in task.get("inputs", {}).get("parameters", {}).values():
            if produced := parameter.get("taskOutputParameter"):
                # TFX adds an ending that its tasks haven't: "unknown producer task" (argocompiler/dag.go).
                produced["producerTask"] = produced["producerTask"].removesuffix("_task")
    for executor in spec["deploymentSpec"]["executors"].values():
        # TFX's driver: Kubeflow never runs it, and on Vertex the digest of the data stands in its place.
        executor["container"].pop("lifecycle", None)


def _add_parameters(spec: dict[str, Any]) -> None:
    """Makes parameters of the pipeline of constants of its tasks, which become their defaults.

    Args:
      spec: the pipeline spec; changed.
    """
    tasks = spec["root"]["dag"]["tasks"]
    parameters = spec["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {})
    for name, about, places in _PARAMETERS:
        for task, key in places:
            if task in tasks:
                inputs = tasks[task]["inputs"]["parameters"]
                parameters[name] = {
                    "parameterType": spec["components"][task]["inputDefinitions"]["parameters"][key]["parameterType"],
                    "defaultValue": inputs[key]["runtimeValue"]["constant"],
                    "description": about,
                    "isOptional": True,
                }
                inputs[key] = {"componentInputParameter": name}
