"""The commands that say what can be set: the presets, and all settings."""

import shutil
import textwrap
from typing import Any

import click

from pipeline.cli.echo import echo_json
from pipeline.presets import PRESETS, about, preset_file

_WIDEST = 100  # columns: longer lines are hard to read


@click.command(epilog="Example: arcface-tfx presets")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def presets(as_json: bool) -> None:
    """Print the presets, files that `run --config` takes, too."""
    from pipeline.overrides import load_yaml
    from pipeline.runs.settings import flat

    found = {}
    for name in PRESETS:
        with open(preset_file(name), "rb") as file:
            text = file.read()
        found[name] = {"file": preset_file(name), "about": about(name), **flat(load_yaml(text))}
        if not as_json:
            click.echo(f"{name}: {preset_file(name)}")
            click.echo(textwrap.indent(text.decode(), "    "))
    if as_json:
        echo_json(found)


@click.command(epilog="Example: arcface-tfx settings")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(as_json: bool) -> None:
    """List all settings with default, range and meaning.

    `run --set NAME=VALUE` changes one. VALUE is YAML: true, 1e-3, [lfw, cfp_fp]. A preset changes several; `presets`
    lists them.
    """
    from arcface_common.setting import described
    from pipeline.sections import SECTIONS

    known = list(described(SECTIONS))
    if as_json:
        echo_json({s.name: {"default": s.default, "range": s.range, "about": s.about} for s in known})
        return
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    for number, one in enumerate(known):
        click.echo(f"{chr(10) if number else ''}{one.name}={as_yaml(one.default)}    ({one.range})")
        click.echo(textwrap.fill(one.about, width, initial_indent="    ", subsequent_indent="    "))


def as_yaml(value: Any) -> str:
    """A setting's value as `--set` reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
