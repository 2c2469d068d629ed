"""Lines and JSON on the screen."""

import json
from collections.abc import Iterable
from typing import Any

import click

from arcface_common.name_text import in_one_line


def echo_lines(lines: Iterable[str]) -> None:
    """Prints lines; what a name in one holds besides printable characters is escaped."""
    click.echo("\n".join(map(in_one_line, lines)))


def echo_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    click.echo(json.dumps(value, indent=2))
