"""The command that embeds any number of faces; TensorFlow is imported inside it."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from arcface_common.console import progress, say
from arcface_common.errors import DataError
from arcface_common.name_text import as_utf8
from components.datasets.identity_folders import images_below
from pipeline.cli.align_option import ALIGN, check_align
from pipeline.cli.paths import InputOrList, ModelFolder, OutputFile, Whole, check_outside
from pipeline.cli.quiet import quiet
from pipeline.cli.server_option import check_alone, converted, opened, server_options

_ENDINGS = (".npz", ".csv", ".parquet", ".npy")

resize_option = click.option(
    "--resize", is_flag=True, help="Resize images that are not 112x112 (bilinear); their faces must be aligned."
)


@click.command(epilog="Example: arcface-tfx embed build/demo/serving/arcface faces/ --output embeddings.npz")
@click.argument("model", metavar="[MODEL]", shell_complete=ModelFolder().shell_complete)
@click.argument("images", nargs=-1, metavar="IMAGES...", shell_complete=InputOrList().shell_complete)
@click.option(
    "--output",
    type=OutputFile(_ENDINGS),
    help="Write the embeddings to this file, whose ending says how: .npz (names, embeddings, norms), .npy (embeddings "
    "alone, a row an image, NaN where one was left out), .csv or .parquet. Without it, JSON is printed.",
)
@click.option(
    "--batch-size",
    type=Whole(min=1),
    default=64,
    show_default=True,
    help="Keep so many images in memory at a time.",
)
@ALIGN
@resize_option
@server_options
def embed(
    model: str,
    images: tuple[str, ...],
    output: str | None,
    batch_size: int,
    align: bool,
    resize: bool,
    server: str | None,
    server_model: str,
    token_file: str | None,
    ca_cert: str | None,
) -> None:
    """Turn aligned 112x112 faces, or photos, into embeddings.

    MODEL is a pushed version, the folder of versions, of which the latest is taken, or an import's folder. IMAGES are
    JPEG or PNG files, folders, which are searched with all folders in them, or `-` for a list of files on standard
    input, one a line or with NUL between them. An image that can't be used is named with the reason on standard error,
    the others are embedded, and the exit code is 1. It takes two to three seconds to start; a server, see --server,
    answers in milliseconds.
    """
    check_align(align, resize)
    check_alone(server, token_file=token_file, ca_cert=ca_cert)
    if server is not None:
        model, images = "", (model, *images)
    elif not images:
        raise click.UsageError("Missing argument 'IMAGES...'.")
    else:
        converted(ModelFolder(), "model", model)
        if output:
            check_outside("--output", output, [model])
    if output:
        check_outside("--output", output, [image for image in images if os.path.isdir(image)])
    paths = _listed([converted(InputOrList(), "images...", image) for image in images])
    if server is None:
        from serving.versions import resolve

        model = resolve(model)
    for line in _remarks(paths):
        say(line)
    with quiet():
        loaded = opened(model, server, server_model, token_file, ca_cert)
        given = {"batch_size": batch_size, "align": align, "resize": resize}
        bad = (
            _to_json(loaded, paths, given)
            if output is None
            else _to_file(loaded, paths, given, output, loaded.metadata.embedding_dim)
        )
    if bad:
        say(f"{bad:,} of {len(paths):,} images left out")
        sys.exit(1)


def _listed(given: Sequence[str]) -> list[str]:
    """The files of all arguments, in their order.

    Raises:
      DataError: a folder without images, or an empty list.
    """
    paths: list[str] = []
    for name in given:
        if name == "-":
            listed = sys.stdin.buffer.read()
            found = [os.fsdecode(line) for line in listed.split(b"\0" if b"\0" in listed else b"\n") if line.strip()]
            if not found:
                raise DataError("-: expected names of images on standard input. Received: none")
        elif os.path.isdir(name):
            images, left_out = images_below(Path(name))
            for line in left_out.lines():
                say(f"{name}: {line}")
            found = [str(path) for path in images]
            if not found:
                raise DataError(f"{name}: expected a folder with JPEG or PNG files. Received: {left_out.received()}")
        else:
            found = [name]
        paths += found
    return paths


def _remarks(paths: list[str]) -> list[str]:
    """What is odd about the names, a line each."""
    again = len(paths) - len(set(paths))
    others = sum(as_utf8(path) != path for path in paths)
    return [
        *([f"warning: images given more than once, each time embedded: {again:,}"] * bool(again)),
        *([f"warning: names that are not UTF-8, whose bytes are written as \\xNN: {others:,}"] * bool(others)),
    ]


def _parts(model: Any, paths: list[str], given: dict[str, Any], bad: list[int]) -> Iterator[tuple[list[str], Any]]:
    """Names and embeddings of each batch, with a bar; what can't be used is said, and its position kept in `bad`."""
    with progress(total=len(paths), description="embedding", unit="img") as bar:

        def left_out(position: int, error: Exception) -> None:
            say(f"left out: {error}")
            bad.append(position)
            bar.update()

        for part in model.embed_iter(paths, on_bad=left_out, **given):
            yield [as_utf8(paths[position]) for position in part.positions], part
            bar.update(len(part))


def _to_json(model: Any, paths: list[str], given: dict[str, Any]) -> int:
    """Prints a list with a line an image; how many were left out."""
    bad: list[int] = []
    between = "[\n"
    for names, part in _parts(model, paths, given, bad):
        for name, embedding, norm in zip(names, part.embeddings.tolist(), part.norms.tolist(), strict=True):
            click.echo(between + json.dumps({"name": name, "embedding": embedding, "norm": norm}), nl=False)
            between = ",\n"
    click.echo("[]" if between == "[\n" else "\n]")
    return len(bad)


def _to_file(model: Any, paths: list[str], given: dict[str, Any], output: str, dim: int) -> int:
    """Writes a file, unless every image was left out; how many were."""
    from pipeline.cli.embedding_files import embedding_file

    bad: list[int] = []
    written = 0
    with embedding_file(output, dim, len(paths)) as write:
        for names, part in _parts(model, paths, given, bad):
            write(names, part.positions, part.embeddings, part.norms)
            written += len(part)
        if not written:
            raise click.ClickException(f"no image can be embedded: {output} is not written")
    click.echo(f"{output}: {written:,} embeddings of {dim} values")
    return len(bad)
