"""The command that runs the pipeline, on this machine or on a cluster."""

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from arcface_common.aside import temporary_files_aside
from arcface_common.console import say, tinted
from pipeline.checks.files import as_typed
from pipeline.checks.secrets import refuse_secret_path
from pipeline.cli.cluster import cluster_options, run_on_cluster
from pipeline.cli.completion import DEFAULT_ROOT
from pipeline.cli.echo import echo_json, echo_lines
from pipeline.cli.endings import ends_in_words
from pipeline.cli.hints import own_command
from pipeline.cli.paths import ModelFolder, OneOf, OutputFolder
from pipeline.cli.pipeline_option import pipeline_options
from pipeline.presets import about

if TYPE_CHECKING:  # they read the settings, 0.3 s
    from pipeline.config_file import ConfigFile
    from pipeline.runners.kubeflow_client import Server


class _Root(OutputFolder):
    """A folder of this machine, or with `--engine kubeflow` one that the pods see."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `OutputFolder`."""
        return str(value) if ctx and ctx.params.get("engine") == "kubeflow" else super().convert(value, param, ctx)


@click.command(epilog="Example: arcface-tfx run --data faces/ms1m --preset r50 --set train.workers=2")
@click.option(
    "--engine",
    type=OneOf(["local", "kubeflow"]),
    default="local",
    show_default=True,
    is_eager=True,
    help="Run on this machine, or on a cluster's Kubeflow Pipelines; --data and --root are then what the pods see.",
)
@cluster_options
@click.option("--image", help="Name the container image of the steps, with --engine kubeflow.")
@click.option("--root", show_default=DEFAULT_ROOT, type=_Root(), help="Write all results to this folder.")
@click.option(
    "--init-from",
    type=ModelFolder(),
    help="Start from the backbone of a training run or an import. With --set train.steps=0 it is judged as it is.",
)
@pipeline_options
@click.option("--wait", is_flag=True, help="Wait for another run in the same root, instead of ending.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Run every node on a few hundred records in a temporary folder, and print what the whole run will take.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def run(
    data: str,
    root: str | None,
    init_from: str | None,
    preset: str | None,
    overrides: tuple[str, ...],
    file: "ConfigFile | None",
    beam_runner: str,
    beam_given: tuple[str, ...],
    wait: bool,
    dry_run: bool,
    as_json: bool,
    engine: str,
    image: str | None,
    server: "Server | None",
) -> None:
    """Train, judge and push a model.

    It runs the whole pipeline; what has not changed since the last run comes from the cache.
    """
    from pipeline.running import configure, prepare

    if dry_run and wait:
        raise click.UsageError("--wait waits for the root, which --dry-run leaves alone. Give one of them.")
    if root is None and file and file.root:
        root = file.root
        refuse_secret_path(f"{file.path}: root", root)
        say(f"root: {root}, as {file.path} has it")
    asked: dict[str, Any] = {"beam_runner": beam_runner, "beam_given": beam_given, "file": file}
    if engine == "kubeflow":
        if init_from or wait or dry_run:
            raise click.UsageError(
                "--init-from, --wait and --dry-run are for --engine local; a folder that pods see is "
                "--set train.init_from=FOLDER."
            )
        run_on_cluster(data, root, image, server, as_json, preset=preset, overrides=overrides, **asked)
        return
    if server or image:
        raise click.UsageError("--host and --image are for --engine kubeflow, which isn't asked for.")
    config = prepare(configure(data, root or DEFAULT_ROOT, preset, overrides, init_from, **asked))
    if config.preset:
        say(f"preset {config.preset}: {about(config.preset)}")
    if dry_run:
        from pipeline.dry_run import dry_run as try_out
        from pipeline.forecast import forecast_lines

        found = try_out(config)
        if as_json:
            echo_json(found.to_dict())
        else:
            echo_lines(["", *forecast_lines(found)])
        return
    from pipeline.runs.recording import recorded_run

    with recorded_run(config, wait) as recording, ends_in_words(recording.log), temporary_files_aside():
        from pipeline.runners.local import run_nodes

        summary = run_nodes(config, recording)
    if as_json:
        files = {"run": recording.name, "folder": recording.folder, "log": recording.log, "noise": recording.noise}
        echo_json({**summary.to_dict(), **files})
    else:
        print_summary(summary, recording.folder, recording.log)


def print_summary(summary: Any, folder: str, log: str) -> None:
    """Prints what a run came to, and how to ask the model.

    Args:
      summary: a RunSummary.
      folder: of the run.
      log: its file.
    """
    from pipeline.runs.tables import summary_lines

    for line in ["", *summary_lines(summary, folder, log)]:
        click.echo(tinted(line, sys.stdout))
    place = as_typed(summary.pushed or summary.model)
    click.echo(f"\nask it:      {own_command()} embed {shlex.quote(place)} IMAGE.jpg")
