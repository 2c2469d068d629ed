"""Puts a report where it belongs: a page that is whole by itself, and its plots as PNG in a folder beside it.

A folder `page_files` goes with `page.html`, as browsers save a page, so that it can be replaced with all that it holds.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from arcface_common.aside import file_aside, folder_aside
from arcface_common.errors import DataError


def plots_folder(page: Path) -> Path:
    """The folder of a page's plots, which may be there from an earlier report.

    Raises:
      DataError: something else has its name; nothing of it would be left.
    """
    folder = page.with_name(f"{page.stem}_files")
    others = [path.name for path in sorted(folder.iterdir()) if path.suffix != ".png"] if folder.is_dir() else []
    if others or folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise DataError(
            f"{folder}: expected nothing, or the plots of an earlier report, which are replaced. "
            f"Received: {f'a folder with {others[0]}' if others else 'something else'}"
        )
    return folder


def put_report(page: Path, html: str, plots: Mapping[str, bytes]) -> None:
    """Writes page and plots aside, then puts both in place of an earlier report's; for their owner alone.

    Args:
      page: the HTML file. A folder that is made for it is for its owner alone, too.
      html: its content.
      plots: name -> PNG; each is `<name>.png`.

    Raises:
      DataError: see `plots_folder`.
    """
    page.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = plots_folder(page)
    with file_aside(page) as new_page:
        _write(new_page, html.encode())
        with folder_aside(folder, replace=True) as new_folder:
            new_folder.chmod(0o700)
            for name, png in plots.items():
                _write(new_folder / f"{name}.png", png)
    if not plots:
        shutil.rmtree(folder)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
