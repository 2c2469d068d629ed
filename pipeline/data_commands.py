"""The commands that make and look at data sets; they never import TensorFlow. And JSON on the screen, for all."""

import json
import sys
from typing import Any

import click

from pipeline.paths import InputFile, InputFolder, OutputFile, OutputFolder, check_data_files
from trainer_module.errors import DataError


def echo_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    click.echo(json.dumps(value, indent=2))


@click.command(epilog="Example: arcface-tfx synth build/demo/data")
@click.argument("out", type=OutputFolder())
@click.option("--identities", type=click.IntRange(min=1), help="Draw so many identities for training.")
@click.option("--images", type=click.IntRange(min=1), help="Draw so many images of each identity.")
@click.option(
    "--pairs", type=click.IntRange(min=1), help="Draw so many pairs for each verification set, a multiple of 20."
)
@click.option("--seed", type=click.IntRange(min=0), help="Draw other faces with another seed.")
@click.option("--sheet", type=OutputFile(), help="Also write a contact sheet (PNG), one row an identity.")
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

    The faces are drawn by a program, the files those that InsightFace publishes. They are written to the folder OUT.
    """
    from components.synthetic.dataset import SyntheticSpec, write_dataset
    from components.synthetic.sheet import write_samples, write_sheet

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
    from components import inspection

    check_data_files(folder)
    report = inspection.inspect(folder, write_index=write_index)
    if as_json:
        echo_json(report.to_dict())
    else:
        click.echo(report.to_text())
    if report.problems:
        click.echo(f"not clean: {'; '.join(report.problems)}", err=True)
        sys.exit(1)


@click.command(epilog="Example: arcface-tfx convert aligned/ faces/mine --pairs pairs.txt --set-name lfw")
@click.argument("folder", type=InputFolder())
@click.argument("out", type=OutputFolder())
@click.option(
    "--pairs", type=InputFile(), help="Make a verification set of this list: LFW's form, or lines PATH_A PATH_B 0|1."
)
@click.option("--set-name", "name", help="Give the verification set this name, e.g. lfw.")
@click.option("--resize", is_flag=True, help="Resize images that are not 112x112 (bilinear, JPEG quality 95).")
def convert(folder: str, out: str, pairs: str | None, name: str | None, resize: bool) -> None:
    """Turn folders of aligned faces into InsightFace's files.

    FOLDER has one folder of faces an identity; the files that InsightFace publishes are written to OUT. Faces must be
    JPEG or PNG, aligned to InsightFace's template; this command doesn't align them.
    """
    from components import conversion, pair_list

    if (pairs is None) != (name is None):
        raise click.UsageError("--pairs and --set-name go together. Received: one of them")
    listed = pair_list.PairList(pairs, name) if pairs is not None and name is not None else None
    report = conversion.convert(folder, out, pairs=listed, resize=resize)
    click.echo("\n".join([*report.lines(), f"{out}: written"]))
