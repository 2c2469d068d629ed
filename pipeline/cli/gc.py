"""The command that frees what a root holds and nothing needs any more."""

import collections
import os
from collections.abc import Mapping

import click

from arcface_common.console import say
from arcface_common.errors import DataError
from pipeline.cli.paths import InputFolder, Whole
from pipeline.runs.lock import run_lock


@click.command(epilog="Example: arcface-tfx gc --root build/demo --keep 3 --yes")
@click.option("--root", required=True, type=InputFolder(), help="Folder that the runs wrote to.")
@click.option(
    "--keep",
    type=Whole(min=1),
    default=3,
    show_default=True,
    help="How many of the last runs, and of the last blessed runs, keep all that they read and wrote.",
)
@click.option("--yes", is_flag=True, help="Remove it; otherwise gc only says what it would remove.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed, which is what gc does without --yes.")
@click.option("--wait", is_flag=True, help="Wait for a run in this root, instead of ending.")
def gc(root: str, keep: int, yes: bool, dry_run: bool, wait: bool) -> None:
    """Say what the last runs of a root don't need, and with --yes remove it.

    What is served stays, and so do the latest blessed model with all that the next run compares with, each run's log
    and settings, and what ML Metadata doesn't know. So do the last trainings that were stopped.
    """
    if yes and dry_run:
        raise click.UsageError("give one of --yes and --dry-run")
    from pipeline.config import PipelineConfig

    config = PipelineConfig("", os.path.abspath(root))
    if not os.path.isfile(config.metadata_path):
        raise DataError(f"{config.metadata_path}: expected the root of runs. Received: no such file")
    with run_lock(config.root, wait):
        from pipeline.cli.runs_text import size
        from pipeline.runs.folder import all_runs
        from pipeline.runs.gc import find_garbage, remove
        from pipeline.runs.reconcile import check_metadata, reconcile
        from trainer_module.training.kept_steps import newest_step

        if not os.path.getsize(config.metadata_path):
            raise DataError(f"{config.metadata_path}: expected ML Metadata's records of runs. Received: an empty file")
        reconcile(config) if yes else check_metadata(config.metadata_path)
        garbage = find_garbage(config, all_runs(config.root), keep)
        for node, outputs in _by_node(garbage.artifacts).items():
            click.echo(f"{node:<22} {size(sum(outputs.values())):>10}  {', '.join(outputs)}")
        for what, kind in (("unfinished ingest", garbage.stores), ("stopped training", garbage.trainings)):
            for name, count in kind.items():
                if count:
                    step = newest_step(os.path.join(config.training_dir, name)) if kind is garbage.trainings else 0
                    click.echo(f"{what:<22} {size(count):>10}  {name}{f' at step {step:,}' if step else ''}")
        total = size(garbage.bytes)
        kept = f"kept is what {garbage.kept} of the runs read and wrote"
        if not garbage.bytes:  # empty folders, and names of files that have others
            if yes:
                remove(config, garbage)
            click.echo(f"{root}: nothing to remove; {kept}")
            return
        if not yes:
            click.echo(f"{root}: would free {total}; {kept}. --yes removes it")
            return
        say(f"removing {total}")
        stuck = remove(config, garbage)
        freed = garbage.bytes - (find_garbage(config, all_runs(config.root), keep).bytes if stuck else 0)
        click.echo(f"{root}: freed {size(freed)}; {kept}")
        if stuck:
            path, reason = next(iter(stuck.items()))
            more = f" ({len(stuck):,} can't be)" if len(stuck) > 1 else ""
            raise DataError(
                f"{path}: expected to remove it{more}. The rest is removed; the next gc tries again. Received: {reason}"
            )


def _by_node(artifacts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Node -> "output execution" -> bytes, of those that free any."""
    found: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for place, count in artifacts.items():
        node, output, execution = place.split("/")
        if count:
            found[node][f"{output} {execution}"] = count
    return found
