"""The commands that make and look at data sets; they never import TensorFlow."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arcface_common.errors import DataError
from pipeline.checks.files import check_data_files
from pipeline.cli.align_option import ALIGN, check_align, faces_in
from pipeline.cli.echo import echo_json, echo_lines
from pipeline.cli.hints import own_command
from pipeline.cli.paths import InputFile, InputFolder, Number, OutputFile, OutputFolder, Whole

if TYPE_CHECKING:
    from components.datasets.kept_out import KeepOut
    from components.datasets.pair_list import PairList


@click.command(epilog="Example: arcface-tfx synth build/demo/data")
@click.argument("out", type=OutputFolder())
@click.option("--identities", type=Whole(min=2), help="Draw so many identities for training.  [500]")
@click.option("--images", type=Whole(min=2), help="Draw so many images of each identity, at most 1000.  [16]")
@click.option(
    "--pairs",
    type=Whole(min=1),
    help="Draw so many pairs for each verification set, a multiple of 20, from 40 to 100000.  [600]",
)
@click.option("--seed", type=Whole(min=0), help="Draw other faces with another seed.  [0]")
@click.option("--sheet", type=OutputFile([".png"]), help="Also write a contact sheet (PNG), one row an identity.")
@click.option("--samples", type=OutputFolder(), help="Also write single faces to try a model on.")
def synth(
    out: str,
    identities: int | None,
    images: int | None,
    pairs: int | None,
    seed: int | None,
    sheet: str | None,
    samples: str | None,
) -> None:
    """Draw a data set of faces, in InsightFace's files.

    The faces are drawn by a program, the files those that InsightFace publishes. They are written to the folder OUT, in
    place of what was drawn there with other options.
    """
    from components.datasets.synthetic.dataset import SyntheticSpec, write_dataset
    from components.datasets.synthetic.sheet import write_samples, write_sheet

    given = {"identities": identities, "images_per_identity": images, "pairs": pairs, "seed": seed}
    try:
        spec = SyntheticSpec(**{name: value for name, value in given.items() if value is not None})
        written = write_dataset(out, spec)
    except ValueError as error:
        raise DataError(str(error)) from error
    click.echo(f"{out}: {written}")
    if sheet:
        write_sheet(sheet, spec)
        click.echo(f"{sheet}: written")
    if samples:
        write_samples(samples, spec)
        click.echo(f"{samples}: written")


@click.command(epilog="Example: arcface-tfx inspect faces/ms1m")
@click.argument("folder", metavar="DIR", type=InputFolder())
@click.option("--write-index", is_flag=True, help="Rebuild a missing train.idx by one scan, and keep it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(folder: str, write_index: bool, as_json: bool) -> None:
    """Say what is in a data set, and what is wrong with it.

    DIR is a folder as InsightFace publishes it. Every record is read and checked as a run checks it, by header, size
    and end. Exit code 1 says that a run would stop, or judge by images that it was trained on; 2 that DIR is no such
    folder.
    """
    from components.datasets import inspection

    check_data_files(folder)
    report = inspection.inspect(folder, write_index=write_index)
    if as_json:
        echo_json(report.to_dict())
    else:
        echo_lines(report.lines())
    if report.problems:
        click.echo(f"not clean: {'; '.join(report.problems)}", err=True)
        sys.exit(1)


@click.command(
    epilog="Examples: arcface-tfx convert aligned/ faces/mine --pairs pairs.txt --set-name lfw;  "
    "arcface-tfx convert aligned/ faces/mine --verify-identities 0.1 --pairs 6000"
)
@click.argument("folder", type=InputFolder())
@click.argument("out", type=OutputFolder())
@click.option(
    "--pairs",
    metavar="FILE|NUMBER",
    help="A list of pairs: LFW's form, lines PATH_A PATH_B 0|1, or a CSV with a header. With --verify-identities: how "
    "many pairs to draw, a multiple of 20; by default what the images bear, at most 6000.",
)
@click.option(
    "--verify-identities",
    "share",
    type=Number(0, 1, min_open=True),
    help="Keep this share of the identities out of training, and draw a verification set of them; 1: the set alone.",
)
@click.option("--hard", type=Number(0, 1), help="Share of its pairs of different people that look alike.  [0.25]")
@click.option("--seed", type=Whole(min=0), help="Another seed keeps out others, and draws other pairs.  [1]")
@click.option("--set-name", "name", help="Name of the verification set, e.g. lfw; of one that is drawn: kept_out.")
@ALIGN
@click.option("--resize", is_flag=True, help="Resize images that are not 112x112 (bilinear, JPEG quality 95).")
@click.option(
    "--skip-bad",
    is_flag=True,
    help="Leave out images that can't be used, also photos without a face, and list them in skipped.csv.",
)
def convert(
    folder: str,
    out: str,
    pairs: str | None,
    share: float | None,
    hard: float | None,
    seed: int | None,
    name: str | None,
    align: bool,
    resize: bool,
    skip_bad: bool,
) -> None:
    """Turn FOLDER, one folder of aligned faces an identity, into the files that InsightFace publishes, in OUT.

    Faces must be JPEG or PNG, aligned to InsightFace's template, or photos with --align. With --pairs or
    --verify-identities, OUT holds a verification set, too.
    """
    from components.datasets import conversion

    check_align(align, resize)
    listed = keep_out = None
    if share is None:
        if hard is not None or seed is not None:
            raise click.UsageError("--hard and --seed go with --verify-identities")
        listed = _pair_list(pairs, name)
    else:
        keep_out = _keep_out(share, pairs, hard=hard, seed=seed, name=name)
    if align:  # takes hours of a large data set: first what needs no crop
        conversion.check(Path(folder), Path(out), pairs=listed, keep_out=keep_out)
    with faces_in(folder, align, resize) as faces:
        report = conversion.convert(faces, out, pairs=listed, keep_out=keep_out, resize=resize, skip_bad=skip_bad)
    echo_lines([*report.lines(), f"{out}: written"])
    if keep_out:
        echo_lines(_how_to_judge(out, keep_out.name, trains=report.images > 0))


def _pair_list(pairs: str | None, name: str | None) -> "PairList | None":
    """What `--pairs FILE --set-name NAME` asks for."""
    from components.datasets.pair_list import PairList

    if pairs is None and name is None:
        return None
    if pairs is None or name is None:
        raise click.UsageError("--pairs and --set-name go together (--verify-identities draws pairs). Received: one")
    if pairs.isdecimal() and not os.path.lexists(pairs):
        raise DataError(
            f"--pairs: expected a list of pairs, or --verify-identities with a number of them. Received: {pairs}"
        )
    return PairList(InputFile().convert(pairs, _option("pairs"), None), name)


def _keep_out(share: float, pairs: str | None, **given: Any) -> "KeepOut":
    """What `--verify-identities` and the options with it ask for."""
    from components.datasets.kept_out import KeepOut

    if pairs is not None and not (pairs.isascii() and pairs.isdecimal() and len(pairs) < 10):
        raise DataError(f"--pairs: expected a number of pairs with --verify-identities. Received: {pairs!r}")
    asked = {key: value for key, value in given.items() if value is not None}
    return KeepOut(share, None if pairs is None else int(pairs), **asked)


def _option(name: str) -> click.Parameter:
    """An option of the command that runs, for a complaint about it."""
    return next(x for x in click.get_current_context().command.params if x.name == name)


def _how_to_judge(out: str, name: str, *, trains: bool) -> list[str]:
    """The commands that judge a model by the set that was drawn; a person puts the model's path in."""
    command, data = own_command(), shlex.quote(out)
    lines = [f"judge by it:         {command} evaluate sets MODEL --data {data} --sets {name}"]
    if trains:
        conditions = f"[{name}.accuracy >= 0.95, {name}.leaks <= 0]"
        run = f"{command} run --data {data} --init-from MODEL --set 'evaluation.conditions={conditions}'"
        lines.append(f"train and judge:     {run}")
        lines.append("                     (--preset instead of --init-from trains anew: `presets` lists them)")
    return lines
