"""What a shell offers for words that are neither commands, options nor paths."""

import os

import click
from click.shell_completion import CompletionItem

DEFAULT_ROOT = os.path.join("build", "run")  # where `run` writes, and `runs` looks


def settings_named(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Settings, as `--set` takes them up to the value."""
    from arcface_common.setting import described  # pydantic, 0.1 s
    from pipeline.sections import SECTIONS

    known = ((f"{setting.name}=", setting.about) for setting in described(SECTIONS))
    return [CompletionItem(name, help=about.partition(". ")[0]) for name, about in known if name.startswith(incomplete)]


def runs_named(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs of the root that the command, or the one above it, was given so far; the newest first."""
    from pipeline.runs.folder import LATEST, RUNS

    given = (context.params.get("root") for context in (ctx, ctx.parent) if context)
    folder = os.path.join(next(filter(None, given), DEFAULT_ROOT), RUNS)
    names = sorted(os.listdir(folder), reverse=True) if os.path.isdir(folder) else []
    known = [LATEST, *(name for name in names if not name.startswith("."))]
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]
