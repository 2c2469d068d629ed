"""The page of what was rejected and why: one HTML file that asks nothing of the network, with small pictures."""

import base64
import html
import io
import os
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from arcface_common import filesystem
from arcface_common.artifacts import FACES_FILE, SHEET_FILE
from arcface_common.console import progress
from arcface_common.errors import DataError
from arcface_common.image_pixels import decode
from components.alignment.aligner import read_photo
from components.alignment.faces_csv import UNREADABLE, FaceRow
from components.alignment.job import AlignJob

MOST_SHOWN = 100  # photos of each reason: a page of 7 reasons stays below 6 MB

_SIDE = 160  # pixels of a picture's longer side
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: 1rem; padding: 0; }
li { list-style: none; overflow-wrap: anywhere; font-size: .85rem; }
img { display: block; max-width: 100%; }
"""


def write_sheet(path: str, job: AlignJob, counts: Mapping[str, int], shown: Mapping[str, Sequence[FaceRow]]) -> None:
    """Writes the page, which holds faces: its owner alone reads it, where the file system knows owners.

    Args:
      path: the page.
      job: where the photos lie.
      counts: reason -> how many photos were rejected for it.
      shown: reason -> those that are shown.
    """
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width"><title>Rejected photos</title>',
        f"<style>{_STYLE}</style><h1>{sum(counts.values()):,} rejected photos</h1>",
        f"<p>All of them are in {FACES_FILE}. A frame marks the face that counts, its points are dots.</p>",
    ]
    with progress(total=sum(map(len, shown.values())), description=SHEET_FILE, unit="photo") as bar:
        for kind, rows in sorted(shown.items(), key=lambda item: -counts[item[0]]):
            some = f", the first {len(rows):,} of them" if counts[kind] > len(rows) else ""
            parts.append(f"<h2>{html.escape(kind)}: {counts[kind]:,}{some}</h2><ul>")
            for row in rows:
                parts.append(_entry(job, row))
                bar.update()
            parts.append("</ul>")
    page = "\n".join(parts).encode("utf-8", "replace")
    with filesystem.write_aside(path, job.aside) as file:
        if filesystem.is_local(path):
            os.fchmod(file.fileno(), 0o600)
        file.write(page)


def _entry(job: AlignJob, row: FaceRow) -> str:
    picture = "" if row.kind == UNREADABLE else _picture(job, row)
    return f"<li>{picture}<b>{html.escape(row.file)}</b><br>{html.escape(row.rejected)}</li>"


def _picture(job: AlignJob, row: FaceRow) -> str:
    """The photo, small, with the face marked; nothing where it has gone in the meantime."""
    try:
        content = read_photo(os.path.join(job.photos, row.file), job.settings.max_pixels)
        image = Image.fromarray(decode(content, job.settings.max_pixels))
    except (DataError, OSError):
        return ""
    ratio = min(1.0, _SIDE / max(image.size))
    image = image.resize([max(1, round(side * ratio)) for side in image.size], Image.Resampling.BILINEAR)
    if row.box is not None and row.points is not None:
        draw = ImageDraw.Draw(image)
        draw.rectangle([v * ratio for v in row.box], outline=(255, 64, 64))
        for x, y in np.reshape(row.points, (5, 2)) * ratio:
            draw.ellipse([x - 1, y - 1, x + 1, y + 1], fill=(64, 255, 64))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" width="{image.width}" height="{image.height}" src="data:image/jpeg;base64,{data}">'
