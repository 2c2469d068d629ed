"""Compiles the same pipeline for Kubeflow Pipelines (pipeline spec 2.1)."""

import warnings
from pathlib import Path

from arcface_common.aside import file_aside
from pipeline.config import PipelineConfig


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

        runner_config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            display_name=config.name, default_image=image, use_pipeline_spec_2_1=True
        )
        with file_aside(Path(output).absolute()) as aside:  # the runner goes by the ending
            runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
                config=runner_config, output_dir=str(aside.parent), output_filename=aside.name
            )
            runner.run(create_pipeline(config), write_out=True)
