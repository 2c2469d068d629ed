"""The commands that make and look at data sets; they never import TensorFlow. And JSON on the screen, for all."""

import json
import sys
from typing import Any

import click

from pipeline.align_option import ALIGN, faces_in
from pipeline.paths import InputFile, InputFolder, OutputFile, OutputFolder, check_data_files
from trainer_module.errors import DataError


def echo_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    click.echo(json.dumps(value, indent=2))


@click.command(epilog="Example: arcface-tfx synth build/demo/data")
@click.argument("out", type=OutputFolder())
@click.option("--identities", type=click.IntRange(min=1), help="Identities of the training set.")
@click.option("--images", type=click.IntRange(min=1), help="Images of each identity.")
@click.option("--pairs", type=click.IntRange(min=1), help="Pairs of each verification set, a multiple of 20.")
@click.option("--seed", type=click.IntRange(min=0), help="Another seed, other faces.")
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
    """Write a data set of procedural faces to OUT, exactly in the files that InsightFace publishes."""
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
    """Say what is in DIR, a folder as InsightFace publishes it, and what is wrong with it.

    Every record is read and checked as a run checks it, by header, size and end. Exit code 1 says that a run would
    stop, or judge by images that it was trained on; 2 that DIR is no such folder.
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


@click.command(epilog="Example: arcface-tfx convert aligned/ faces/mine --pairs pairs.txt --set lfw")
@click.argument("folder", type=InputFolder())
@click.argument("out", type=OutputFolder())
@click.option("--pairs", type=InputFile(), help="List of pairs: LFW's form, or lines PATH_A PATH_B 0|1.")
@click.option("--set", "name", help="Name of the verification set that the pairs become, e.g. lfw.")
@ALIGN
@click.option("--resize", is_flag=True, help="Resize images that are not 112x112 (bilinear, JPEG quality 95).")
def convert(folder: str, out: str, pairs: str | None, name: str | None, align: bool, resize: bool) -> None:
    """Turn FOLDER, one folder of aligned faces an identity, into the files that InsightFace publishes, in OUT.

    Faces must be JPEG or PNG, aligned to InsightFace's template, or photos with --align.
    """
    from components import conversion, pair_list

    if (pairs is None) != (name is None):
        raise click.UsageError("--pairs and --set go together. Received: one of them")
    listed = pair_list.PairList(pairs, name) if pairs is not None and name is not None else None
    with faces_in(folder, align, resize) as faces:
        report = conversion.convert(faces, out, pairs=listed, resize=resize)
    click.echo("\n".join([*report.lines(), f"{out}: written"]))
