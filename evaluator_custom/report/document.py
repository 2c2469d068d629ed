"""The frame of a report: one file that asks for nothing outside itself."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from arcface_common.aside import file_aside
from evaluator_custom.report.style import STYLE
from evaluator_custom.report.text import in_html

# The page asks for nothing outside itself, and a browser would refuse it if it did.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
FOOTER = "</main><footer><p>This page shows faces: keep it as confidential as their images are.</p></footer>"


def write(path: Path, content: bytes) -> None:
    """Writes a file aside, then renames it; for its owner alone."""
    with file_aside(path) as aside:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)


def document(title: str, parts: Iterable[str]) -> str:
    """The page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{in_html(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def header(title: str, model: str, titles: Mapping[str, str], warnings: Sequence[str] = ()) -> str:
    """Title, the way to each part, and what must not be overlooked.

    Args:
      title: of the page.
      model: the model's name.
      titles: anchor -> heading of each part.
      warnings: sentences.
    """
    links = "".join(f'<a href="#{anchor}">{in_html(title)}</a>' for anchor, title in titles.items())
    loud = ""
    if warnings:
        items = "".join(f"<li>{in_html(warning)}</li>" for warning in warnings)
        loud = f'<aside class="warning" aria-label="Warning"><strong>Warning</strong><ul>{items}</ul></aside>'
    return (
        f'<header><h1>{in_html(title)}</h1><p class="model">{in_html(model)}</p>'
        f'<nav aria-label="Contents">{links}</nav>{loud}</header><main>'
    )
