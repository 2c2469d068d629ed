"""Compiles the same pipeline for Kubeflow Pipelines (pipeline spec 2.1)."""

import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from arcface_common.aside import file_aside
from pipeline.config import PipelineConfig
from pipeline.runners.cluster_jobs import ClusterJob, Volume
from pipeline.summary import LOOK_UPS


def compile_pipeline(
    config: PipelineConfig,
    image: str,
    output: str,
    volume: Volume | None = None,
    cluster_job: ClusterJob | None = None,
) -> list[str]:
    """Writes the pipeline as YAML, aside first, then renamed, and beside it what pods of their own train by.

    Args:
      config: `data` and `root` as the cluster's pods see them, e.g. gs:// or s3:// paths or a mounted volume.
      image: container image with this project installed.
      output: path of the YAML file; "-runtime" and "-trainjob" go before the ending of those beside it.
      volume: that each step mounts; None for none.
      cluster_job: how pods of their own train; None trains in the step's.

    Returns:
      The paths that were written.
    """
    submitted = cluster_job.manifest(config) if cluster_job else None
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
        job = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config=runner_config).run(pipeline, write_out=False)
        spec = job["pipelineSpec"]
        look_ups = [component.id for component in pipeline.components if component.type in LOOK_UPS]
        _make_runnable(spec, look_ups)
        files = {output: [spec, *([_mounts(spec, volume)] if volume else [])]}
        if cluster_job:
            stem, ending = os.path.splitext(output)
            files[f"{stem}-runtime{ending}"] = cluster_job.applied_before(config)
            files[f"{stem}-{cluster_job.kind}{ending}"] = [submitted]
        for path, documents in files.items():
            with file_aside(Path(path).absolute()) as aside, open(aside, "w", encoding="utf-8") as file:
                yaml.safe_dump_all(documents, file)
    return list(files)


def _mounts(spec: dict[str, Any], volume: Volume) -> dict[str, Any]:
    """The platform spec (KubernetesExecutorConfig) by which each step mounts a volume.

    The claim's name stands in it twice: backends up to 2.4 know `constant` alone, later ones call it deprecated.
    """
    executors = {
        name: {
            "pvcMount": [
                {
                    "mountPath": volume.path,
                    "constant": volume.claim,
                    "pvcNameParameter": {"runtimeValue": {"constant": volume.claim}},
                }
            ]
        }
        for name in spec["deploymentSpec"]["executors"]
    }
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


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
