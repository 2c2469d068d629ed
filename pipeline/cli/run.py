"""The command that runs the pipeline here, and the options that `compile` shares."""

import functools
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from arcface_common.aside import temporary_files_aside
from arcface_common.console import say, tinted
from pipeline.beam import RUNNERS
from pipeline.checks.files import as_typed
from pipeline.cli.completion import DEFAULT_ROOT, settings_named
from pipeline.cli.echo import echo_json, echo_lines
from pipeline.cli.endings import ends_in_words
from pipeline.cli.hints import own_command
from pipeline.cli.paths import InputFile, ModelFolder, Number, OneOf, OutputFolder
from pipeline.presets import PRESETS, about

if TYPE_CHECKING:  # it reads the settings, 0.3 s
    from pipeline.config_file import ConfigFile

_INGEST_FLAGS = ("on_bad_record", "min_images_per_identity", "holdout", "verify_identities")


def pipeline_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `run` and `compile` share; settings of ingest that have a flag of their own become `--set`s."""

    @functools.wraps(command)
    def with_settings(*, overrides: tuple[str, ...], **given: Any) -> None:
        from pipeline.config_file import ConfigFile

        flags = {name: given.pop(name) for name in _INGEST_FLAGS}
        settings = tuple(f"ingest.{name}={value}" for name, value in flags.items() if value is not None)
        path = given.pop("config")
        file = ConfigFile.read(path) if path else None
        given["data"] = given["data"] or (file and file.data)
        if not given["data"]:
            raise click.UsageError("Missing option '--data'.")
        command(overrides=(*settings, *overrides), file=file, **given)

    decorated: Callable[..., Any] = with_settings
    for option in (
        click.option(
            "--verify-identities",
            type=Number(0, 0.5),
            help="Keep this share of the identities out of training, and judge by the set `verify`, drawn of them.",
        ),
        click.option("--holdout", type=Number(0, 0.5), help="Keep this share of all images out of training."),
        click.option(
            "--min-images-per-identity", type=click.IntRange(min=1), help="Leave out identities with fewer images."
        ),
        click.option(
            "--on-bad-record",
            type=OneOf(["fail", "quarantine"]),
            help="End at a bad record of train.rec, which is the default, or write it aside with the reason and go on.",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="NAME=VALUE",
            shell_complete=settings_named,
            help="Change a setting, e.g. train.steps=200. `arcface-tfx settings` lists them.",
        ),
        click.option(
            "--config",
            type=InputFile(),
            help="Take settings, preset, data and root from this YAML file, such as a run's settings.yaml; --preset, "
            "--data, --root and --set go before it.",
        ),
        click.option(
            "--preset",
            type=OneOf(PRESETS),
            help="Begin with the settings of this name, which `arcface-tfx presets` lists. It must be given, unless "
            "train.backbone is, or training starts from a backbone: then it is finetune.",
        ),
        click.option(
            "--beam-arg",
            "beam_given",
            multiple=True,
            metavar="--NAME=VALUE",
            help="Pass an option to Beam; it can be given any number of times.",
        ),
        click.option(
            "--beam-runner",
            type=OneOf(list(RUNNERS)),
            default="local",
            show_default=True,
            help="Run ingest, statistics, Transform's analysis and evaluation there.",
        ),
        click.option(
            "--data",
            type=click.Path(),
            help="Train on this folder of train.rec, train.idx and the .bin sets; for `compile`, as the pods see it.",
        ),
    ):
        decorated = option(decorated)
    return decorated


@click.command(epilog="Example: arcface-tfx run --data faces/ms1m --preset r50 --set train.workers=2")
@click.option("--root", show_default=DEFAULT_ROOT, type=OutputFolder(), help="Write all results to this folder.")
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
) -> None:
    """Train, judge and push a model on this machine.

    It runs the whole pipeline; what has not changed since the last run comes from the cache.
    """
    from pipeline.running import configure, prepare

    if dry_run and wait:
        raise click.UsageError("--wait waits for the root, which --dry-run leaves alone. Give one of them.")
    if root is None and file and file.root:
        root = file.root
        say(f"root: {root}, as {file.path} has it")
    config = prepare(
        configure(
            data,
            root or DEFAULT_ROOT,
            preset,
            overrides,
            init_from,
            file=file,
            beam_runner=beam_runner,
            beam_given=beam_given,
        )
    )
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
