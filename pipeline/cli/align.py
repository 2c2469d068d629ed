"""The command that cuts aligned faces out of photos; TensorFlow isn't needed."""

import dataclasses
import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from arcface_common.console import say
from arcface_common.filesystem import is_local
from components.alignment.settings import MTCNN, WHICH, AlignSettings
from pipeline.beam import RUNNERS, beam_args, check_with_beam
from pipeline.cli.echo import echo_json, echo_lines
from pipeline.cli.paths import InputFolder, Number, OutputFolder, Whole
from pipeline.cli.quiet import quiet

_DEFAULT = AlignSettings()


class _Photos(InputFolder):
    """A local folder, or one on another file system, which is looked at when it is listed."""

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        if is_local(path):
            super().check(path)


class _Crops(OutputFolder):
    """A local folder, or one on another file system."""

    def check(self, path: str) -> None:
        """See `_Path.check`."""
        if is_local(path):
            super().check(path)


def _settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each of `AlignSettings`; the command gets the settings."""

    @functools.wraps(command)
    def with_settings(**given: Any) -> None:
        fields = {field.name: given.pop(field.name) for field in dataclasses.fields(AlignSettings)}
        command(settings=AlignSettings(**fields), **given)

    decorated: Callable[..., Any] = with_settings
    for name, kind, words in (
        ("max_pixels", Whole(1, 2**31), "Width times height of a photo at most; a larger one is unreadable."),
        ("max_side", Whole(20, 2**15), "The detector sees larger photos reduced to this longer side."),
        ("max_padding", Number(0, 1), "Share of a crop at most that lies outside of its photo, and is black."),
        ("max_upscale", Number(0, min_open=True), "How many times a face is enlarged at most."),
        ("min_face", Whole(min=1), "Shorter side of a face's box at least, in pixels of the photo."),
        ("min_score", Number(0, 1), "A face's score at least."),
        ("which", click.Choice(list(WHICH)), "The face that counts where several fulfil the rest; `only`: none does."),
        ("detector", str, f"{MTCNN}, or package.module:function: it loads and gives a function, images to faces."),
    ):
        option = f"--{name.replace('_', '-')}"
        default = getattr(_DEFAULT, name)
        decorated = click.option(option, type=kind, default=default, show_default=True, help=words)(decorated)
    return decorated


@click.command(epilog="Example: arcface-tfx align photos/ aligned")
@click.argument("photos", type=_Photos())
@click.argument("out", type=_Crops())
@_settings_options
@click.option("--processes", type=Whole(min=1), help="How many work on this machine.  [one a core]")
@click.option("--beam-runner", type=click.Choice(list(RUNNERS)), help="Let Beam do the work, here or on a cluster.")
@click.option("--beam-arg", "beam_given", multiple=True, metavar="--NAME=VALUE", help="An option of Beam's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def align(
    photos: str,
    out: str,
    settings: AlignSettings,
    processes: int | None,
    beam_runner: str | None,
    beam_given: tuple[str, ...],
    as_json: bool,
) -> None:
    """Cut one face out of each photo, turned and scaled to InsightFace's template of 112x112 pixels.

    PHOTOS is a folder of JPEG and PNG files, or of one folder of them an identity. OUT gets crops of the same names
    and formats, faces.csv (box, score, five points, size, sharpness, and why a photo was rejected) and rejected.html,
    which shows what was rejected. Interrupted, the same command goes on where it was.

    Exit code 1 says that a photo could not be read, or that there is no crop.
    """
    from components.alignment.folder import align_folder
    from components.alignment.processes import run_in_processes

    if beam_given and beam_runner is None:
        raise click.UsageError("--beam-arg goes with --beam-runner")
    if processes and beam_runner:
        raise click.UsageError("--processes goes without --beam-runner, whose options say where the work runs")
    run: Callable[..., None] = functools.partial(run_in_processes, processes=processes or 0)
    if beam_runner is not None:
        args = beam_args(beam_runner, beam_given)
        check_with_beam(args, here=True)
        from components.alignment.beam import run_by_beam

        run = functools.partial(run_by_beam, beam_args=args)
    with quiet():
        report = align_folder(photos, out, settings, run)
    if as_json:
        echo_json(dataclasses.asdict(report))
    else:
        echo_lines([*report.lines(), f"{out}: written"])
    for row in report.unreadable:
        say(f"{os.path.join(photos, row.file)}: {row.rejected}")
    if report.unreadable or not report.crops:
        sys.exit(1)
