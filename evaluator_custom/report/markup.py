"""Pieces of HTML; every text that comes in is escaped."""

import base64
from collections.abc import Iterable, Mapping, Sequence

from arcface_common.features import IMAGE_MAGICS
from evaluator_custom.report.text import in_html

DASH = "–"  # a figure that the pairs cannot tell


def number(value: float | None, digits: int = 4) -> str:
    """A rounded number, or a dash."""
    return DASH if value is None else f"{value:.{digits}f}"


def percent(share: float) -> str:
    """A share of 0..1, e.g. "0.1 %", to three significant digits below 10 % and to hundredths above."""
    return f"{share:.2%}".replace("%", " %") if share >= 0.1 else f"{100 * share:.3g} %"


def section(anchor: str, title: str, *content: str) -> str:
    """A part of the page with a heading of the second level that `#anchor` leads to."""
    return f'<section id="{anchor}" aria-label="{in_html(title)}"><h2>{in_html(title)}</h2>{"".join(content)}</section>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `kind` is its class in the style sheet."""
    return f"<p{_class(kind)}>{in_html(text)}</p>"


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, foot: Sequence[str] = (), kind: str = ""
) -> str:
    """A table whose first column heads its rows; it scrolls by itself where it is wider than the page.

    Args:
      caption: what it shows.
      head: of each column; empty for none.
      rows: cells of each row.
      foot: cells of a last row that stands apart.
      kind: its class in the style sheet.
    """
    top = "".join(f'<th scope="col">{in_html(cell)}</th>' for cell in head)
    parts = [f"<thead><tr>{top}</tr></thead>" if head else "", f"<tbody>{''.join(map(_row, rows))}</tbody>"]
    if foot:
        parts.append(f"<tfoot>{_row(foot)}</tfoot>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{in_html(caption)}">'
        f"<table{_class(kind)}><caption>{in_html(caption)}</caption>{''.join(parts)}</table></div>"
    )


def plot(png: bytes, alt: str, caption: str = "") -> str:
    """A plot with the words for those who don't see it, and a line below it."""
    below = f"<figcaption>{in_html(caption)}</figcaption>" if caption else ""
    return f'<figure class="plot"><img alt="{in_html(alt)}" src="{_data_uri(png)}">{below}</figure>'


def row_of(*figures: str) -> str:
    """Plots beside one another where the page is wide enough."""
    return f'<div class="plots">{"".join(figures)}</div>'


def image_pairs(captions: dict[int, str], images: Sequence[bytes]) -> str:
    """Pairs of images with a caption each.

    Args:
      captions: of pair i, by i, in the order in which they are shown.
      images: 2N encoded images; 2i and 2i + 1 are read for each caption, no others.
    """
    return image_rows(
        (caption, {f"pair {i}, left face": images[2 * i], f"pair {i}, right face": images[2 * i + 1]})
        for i, caption in captions.items()
    )


def image_rows(rows: Iterable[tuple[str, Mapping[str, bytes]]]) -> str:
    """Images side by side with a caption each time: for each, the caption, and the encoded images by what they show."""
    figures = []
    for caption, images in rows:
        faces = "".join(
            f'<img width="84" height="84" alt="{in_html(alt)}" src="{_data_uri(image)}">'
            for alt, image in images.items()
        )
        kind = "" if len(images) == 2 else _class("three")
        figures.append(f"<figure{kind}>{faces}<figcaption>{in_html(caption)}</figcaption></figure>")
    return f'<div class="pairs">{"".join(figures)}</div>' if figures else paragraph("None.", "muted")


def _row(cells: Sequence[str]) -> str:
    first, *others = (in_html(cell) for cell in cells)
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _data_uri(image: bytes) -> str:
    kind = "jpeg" if image.startswith(IMAGE_MAGICS[0]) else "png"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
