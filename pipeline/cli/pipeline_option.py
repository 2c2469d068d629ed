"""What every command that makes a pipeline is told."""

import functools
from collections.abc import Callable
from typing import Any

import click

from pipeline.beam import RUNNERS
from pipeline.cli.completion import settings_named
from pipeline.cli.paths import InputFile, Number, OneOf, Whole
from pipeline.presets import PRESETS

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
        click.option("--min-images-per-identity", type=Whole(min=1), help="Leave out identities with fewer images."),
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
