"""The command that compiles the pipeline for Kubeflow."""

import dataclasses
import os
import re
from typing import TYPE_CHECKING, Any, Literal

import click

from arcface_common.console import waiting
from arcface_common.errors import DataError
from pipeline.beam import beam_args, check_with_beam
from pipeline.cli.paths import OneOf, OutputFile
from pipeline.cli.quiet import quiet
from pipeline.cli.run import pipeline_options

if TYPE_CHECKING:  # it reads the settings, 0.3 s
    from pipeline.config_file import ConfigFile

_CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class _Volume(click.ParamType):
    """A claim and where it is mounted."""

    name = "CLAIM:PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Both parts.

        Raises:
          DataError: it isn't written like that.
        """
        if isinstance(value, tuple):
            return value
        claim, _, path = value.partition(":")
        if not _CLAIM.fullmatch(claim) or not os.path.isabs(path) or ":" in path:
            raise DataError(f"--volume: expected CLAIM:PATH, such as runs:/mnt/runs. Received: {value!r}")
        return claim, os.path.normpath(path)


@click.command(
    "compile", epilog="Example: arcface-tfx compile --data gs://b/ms1m --root gs://b/runs --image repo/arcface"
)
@click.option(
    "--output", required=True, type=OutputFile([".yaml", ".yml"]), help="Write the pipeline to this YAML file."
)
@click.option("--root", required=True, help="Name the folder of results as the pods see it.")
@click.option("--image", required=True, help="Name the container image that holds this project (see the Dockerfile).")
@click.option("--volume", type=_Volume(), help="Mount this PersistentVolumeClaim in each pod, e.g. runs:/mnt/runs.")
@click.option(
    "--trainer",
    type=OneOf(["step", "trainjob", "tfjob"]),
    default="step",
    show_default=True,
    help="Train in the Trainer's own pod, or by train.workers pods more: of a TrainJob of Kubeflow Trainer v2, or of "
    "the TFJob that came before it (legacy). Both need --volume, with --root on it.",
)
@click.option("--gpus", type=click.IntRange(min=0), help="Give each pod of a TrainJob or TFJob this many GPUs.")
@pipeline_options
def compile_(
    output: str,
    data: str,
    root: str,
    image: str,
    preset: str | None,
    overrides: tuple[str, ...],
    file: "ConfigFile | None",
    beam_runner: str,
    beam_given: tuple[str, ...],
    volume: tuple[str, str] | None,
    trainer: Literal["step", "trainjob", "tfjob"],
    gpus: int | None,
) -> None:
    """Compile the same pipeline for Kubeflow Pipelines (spec 2.1)."""
    from pipeline.checks.backbone import check_backbone
    from pipeline.checks.places import check_image
    from pipeline.config import make_config

    check_image(image)
    if trainer != "step" and volume is None:
        raise DataError(f"--trainer {trainer}: expected --volume, which its pods share. Received: none")
    if trainer == "step" and gpus is not None:
        raise DataError(f"--gpus: expected --trainer trainjob, which it goes with. Received: {gpus}")
    config = make_config(data, root, preset, overrides, here=False, file=file)
    check_backbone(config.train, here=False)
    config = dataclasses.replace(config, beam_args=beam_args(beam_runner, beam_given))
    check_with_beam(config.beam_args, here=False)
    from pipeline.runners.cluster_jobs import ClusterJob, Volume

    mounted = Volume(*volume) if volume else None
    job = ClusterJob(trainer, image, mounted, gpus or 0) if mounted and trainer != "step" else None
    if job:
        job.check(config)
    with quiet():
        with waiting("loading TFX"):
            from pipeline.runners.kubeflow import compile_pipeline

        written = compile_pipeline(config, image, output, mounted, job)
    for path in written:
        click.echo(f"{path}: written")
