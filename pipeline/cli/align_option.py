"""`--align` of the commands that take aligned faces: they take photos, and align them on the way."""

import contextlib
from pathlib import Path

import click

from components.datasets.aligned_faces import AlignedFaces

ALIGN = click.option(
    "--align", is_flag=True, help="Take photos: find, turn and cut out their faces as the command `align` does."
)


def faces_in(folder: str, align: bool, resize: bool) -> contextlib.AbstractContextManager[AlignedFaces]:
    """The folder of aligned faces, one folder an identity, that a command goes on with: the one it was given, or crops.

    Raises:
      click.UsageError: both options.
    """
    check_align(align, resize)
    if not align:
        return contextlib.nullcontext(AlignedFaces(Path(folder)))
    from components.alignment.folder import aligned_folder

    return aligned_folder(folder)


def check_align(align: bool, resize: bool) -> None:
    """Checks that one of the two at most was given.

    Raises:
      click.UsageError: both.
    """
    if align and resize:
        raise click.UsageError("give one of --align and --resize: crops have the right size")
