"""The commands that say what can be set: the presets, and all settings."""

import shutil
import textwrap
from typing import Any

import click

from pipeline.data_commands import echo_json
from pipeline.presets import PRESETS, Preset

_WIDEST = 100  # columns: longer lines are hard to read


@click.command(epilog="Example: arcface-tfx presets")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def presets(as_json: bool) -> None:
    """List the presets, what each is for, and its settings."""
    if as_json:
        echo_json({name: {"about": preset.about, **_all(preset)} for name, preset in PRESETS.items()})
        return
    for name, preset in PRESETS.items():
        click.echo(f"{name}: {preset.about}")
        for setting, value in _all(preset).items():
            share = f"  # {preset.shares[setting]:.0%} of train.steps" if preset.shares.get(setting) else ""
            click.echo(f"    {setting}={_as_yaml(value)}{share}")


def _all(preset: Preset) -> dict[str, Any]:
    """A preset's settings, with those that are a share of its own steps."""
    return {**preset.settings, **preset.shared_steps(preset.settings["train.steps"])}


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
        click.echo(f"{chr(10) if number else ''}{one.name}={_as_yaml(one.default)}    ({one.range})")
        click.echo(textwrap.fill(one.about, width, initial_indent="    ", subsequent_indent="    "))


def _as_yaml(value: Any) -> str:
    """A setting's value as `--set` reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)
