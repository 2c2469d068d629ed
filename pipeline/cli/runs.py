"""The commands that say what the runs of a root were: `runs`, `runs show`, `runs diff`.

What reads runs is imported inside them: numpy is among it, and `--help` must answer at once.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from arcface_common.errors import DataError
from pipeline.cli.completion import DEFAULT_ROOT, runs_named
from pipeline.cli.echo import echo_json
from pipeline.cli.paths import InputFolder, Whole

if TYPE_CHECKING:
    from pipeline.runs.folder import Run

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _root(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that names the root."""
    help_ = f"Folder that the runs wrote to.  [{DEFAULT_ROOT}]"
    return click.option("--root", type=InputFolder(), help=help_)(command)


def _found(ctx: click.Context, root: str | None) -> "list[Run]":
    """All runs of the root that the command, or the one above it, was given."""
    from pipeline.runs.folder import RUNS, all_runs

    above = ctx.parent.params.get("root") if ctx.parent else None
    folder = root or above or DEFAULT_ROOT
    if not os.path.isdir(folder):
        raise DataError(f"--root: {folder}: expected a folder. Received: no such folder")
    found = all_runs(os.path.abspath(folder))
    if not found:
        raise DataError(f"{os.path.join(folder, RUNS)}: expected the folder of a run that can be read. Received: none")
    return found


@click.group(invoke_without_command=True, epilog="Example: arcface-tfx runs --root build/demo")
@_root
@click.option("--last", type=Whole(min=1), help="Only so many, the newest.")
@_JSON
@click.pass_context
def runs(ctx: click.Context, root: str | None, last: int | None, as_json: bool) -> None:
    """List the runs of a root, one line each; `runs show` and `runs diff` say more."""
    if ctx.invoked_subcommand:
        return
    from pipeline.cli import runs_text as text

    every = _found(ctx, root)
    some = every[-last:] if last else every
    if as_json:
        echo_json([text.to_dict(run, every) for run in some])
    else:
        click.echo("\n".join(text.listing(some, every)))


@runs.command(epilog="Example: arcface-tfx runs show 20261124T073355 --root build/demo")
@click.argument("run", shell_complete=runs_named)
@_root
@_JSON
@click.pass_context
def show(ctx: click.Context, run: str, root: str | None, as_json: bool) -> None:
    """Show all that is kept of RUN, its name or the name's beginning: settings, data, nodes, figures, verdict."""
    from pipeline.cli import runs_text as text
    from pipeline.runs.folder import find_run

    every = _found(ctx, root)
    found = find_run(every, run)
    if as_json:
        echo_json(text.to_dict(found, every))
    else:
        click.echo("\n".join(text.details(found, every)))


@runs.command(epilog="Example: arcface-tfx runs diff 20261124T073355 20261124T081502 --root build/demo")
@click.argument("earlier", shell_complete=runs_named)
@click.argument("later", shell_complete=runs_named)
@_root
@_JSON
@click.pass_context
def diff(ctx: click.Context, earlier: str, later: str, root: str | None, as_json: bool) -> None:
    """Say what LATER has otherwise than EARLIER: settings, data, code and figures."""
    from pipeline.cli import runs_text as text
    from pipeline.runs.changes import Changes
    from pipeline.runs.folder import find_run

    every = _found(ctx, root)
    first, second = find_run(every, earlier), find_run(every, later)
    if as_json:
        echo_json(Changes.between(first, second).to_dict())
    else:
        click.echo("\n".join(text.comparison(first, second, every)))
