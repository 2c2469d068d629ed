"""The page of what was rejected and why: one HTML file that asks nothing of the network, with small pictures."""

import io
import os
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
from PIL import Image, ImageDraw

from arcface_common import filesystem
from arcface_common.artifacts import FACES_FILE, SHEET_FILE
from arcface_common.console import progress
from arcface_common.errors import DataError
from arcface_common.image_pixels import decode
from arcface_common.pages import render
from components.alignment.aligner import read_photo
from components.alignment.faces_csv import UNREADABLE, FaceRow
from components.alignment.job import AlignJob

MOST_SHOWN = 100  # photos of each reason: a page of 7 reasons stays below 6 MB

_SIDE = 160  # pixels of a picture's longer side


def write_sheet(path: str, job: AlignJob, counts: Mapping[str, int], shown: Mapping[str, Sequence[FaceRow]]) -> None:
    """Writes the page, which holds faces: its owner alone reads it, where the file system knows owners.

    Args:
      path: the page.
      job: where the photos lie.
      counts: reason -> how many photos were rejected for it.
      shown: reason -> those that are shown.
    """
    kinds = []
    with progress(total=sum(map(len, shown.values())), description=SHEET_FILE, unit="photo") as bar:
        for kind, rows in sorted(shown.items(), key=lambda item: -counts[item[0]]):
            photos = []
            for row in rows:
                photos.append((row, b"" if row.kind == UNREADABLE else _picture(job, row)))
                bar.update()
            kinds.append((kind, counts[kind], photos))
    templates = resources.files(__package__) / "templates"
    total = sum(counts.values())
    page = render(templates, "sheet.html", title="Rejected photos", total=total, table=FACES_FILE, kinds=kinds)
    with filesystem.write_aside(path, job.aside) as file:
        if filesystem.is_local(path):
            os.fchmod(file.fileno(), 0o600)
        file.write(page.encode())


def _picture(job: AlignJob, row: FaceRow) -> bytes:
    """The photo as JPEG, small, with the face marked; nothing where it has gone in the meantime."""
    try:
        content = read_photo(os.path.join(job.photos, row.file), job.settings.max_pixels)
        image = Image.fromarray(decode(content, job.settings.max_pixels))
    except (DataError, OSError):
        return b""
    ratio = min(1.0, _SIDE / max(image.size))
    image = image.resize([max(1, round(side * ratio)) for side in image.size], Image.Resampling.BILINEAR)
    if row.box is not None and row.points is not None:
        draw = ImageDraw.Draw(image)
        draw.rectangle([v * ratio for v in row.box], outline=(255, 64, 64))
        for x, y in np.reshape(row.points, (5, 2)) * ratio:
            draw.ellipse([x - 1, y - 1, x + 1, y + 1], fill=(64, 255, 64))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
