"""The command that turns InsightFace's files back into images; it never imports TensorFlow."""

import click

from pipeline.cli.echo import echo_lines
from pipeline.cli.paths import InputFile, OutputFolder


@click.command(epilog="Examples: arcface-tfx unpack faces/ms1m/train.rec images;  arcface-tfx unpack lfw.bin images")
@click.argument("file", type=InputFile())
@click.argument("folder", type=OutputFolder())
@click.option("--skip-bad", is_flag=True, help="Leave out records that can't be used, and list them in skipped.csv.")
def unpack(file: str, folder: str, skip_bad: bool) -> None:
    """Write the images of FILE, a train.rec or a verification set's .bin, into FOLDER: one folder an identity.

    Images keep their bytes. Of records, folders have the names of the identities.txt beside FILE, else the labels, and
    files the records' keys. Of a set, pairs.txt lists the pairs, as `convert --pairs` reads them.
    """
    from components.datasets import unpacking

    report = unpacking.unpack(file, folder, skip_bad=skip_bad)
    echo_lines([*report.lines(), f"{folder}: written"])
