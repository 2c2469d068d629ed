"""`--align` of the commands that take aligned faces: they take photos, and align them on the way."""

import contextlib
from collections.abc import Sequence

import click

ALIGN = click.option(
    "--align", is_flag=True, help="Take photos: find, turn and cut out their faces as the command `align` does."
)


def faces_of(paths: Sequence[str], align: bool, resize: bool) -> contextlib.AbstractContextManager[Sequence[str]]:
    """The files of aligned faces that a command goes on with: those it was given, or crops of them.

    Raises:
      click.UsageError: both options.
    """
    _check_one(align, resize)
    if not align:
        return contextlib.nullcontext(paths)
    from components.alignment.aligner import aligned_files

    return aligned_files(paths)


def faces_in(folder: str, align: bool, resize: bool) -> contextlib.AbstractContextManager[str]:
    """The folder of aligned faces, one folder an identity, that a command goes on with: see `faces_of`."""
    _check_one(align, resize)
    if not align:
        return contextlib.nullcontext(folder)
    from components.alignment.folder import aligned_folder

    return aligned_folder(folder)


def _check_one(align: bool, resize: bool) -> None:
    if align and resize:
        raise click.UsageError("give one of --align and --resize: crops have the right size")
