"""Compiles the same pipeline for Kubeflow Pipelines (pipeline spec 2.1)."""

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from arcface_common.aside import file_aside
from pipeline.config import PipelineConfig
from pipeline.summary import LOOK_UPS


def compile_pipeline(config: PipelineConfig, image: str, output: str) -> None:
    """Writes the pipeline as YAML, aside first, then renamed.

    Args:
      config: `data` and `root` as the cluster's pods see them, e.g. gs:// or s3:// paths or a mounted volume.
      image: container image with this project installed.
      output: path of the YAML file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own deprecations
        from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

        from pipeline.create import create_pipeline

        pipeline = create_pipeline(config)
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
        with file_aside(Path(output).absolute()) as aside, open(aside, "w", encoding="utf-8") as file:
            yaml.safe_dump(spec, file)


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
