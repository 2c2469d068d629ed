"""Running the pipeline."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from arcface_common.arguments import ANYTHING, FLAG, MAPPING, PATH, TEXT, TEXTS, Kind, check, checked
from arcface_common.aside import temporary_files_aside
from arcface_common.errors import DataError, did_you_mean
from arcface_common.replaced import kept_environment

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig
    from pipeline.forecast import Forecast
    from pipeline.summary import RunSummary


@checked(
    data=PATH,
    root=PATH,
    preset=TEXT.or_none(),
    init_from=PATH.or_none(),
    beam_runner=TEXT,
    beam_args=TEXTS,
    settings=ANYTHING,
)
def configure(
    data: str | os.PathLike[str],
    root: str | os.PathLike[str],
    preset: str | None = None,
    *,
    init_from: str | os.PathLike[str] | None = None,
    beam_runner: str = "local",
    beam_args: Sequence[str] = (),
    **settings: Mapping[str, Any],
) -> "PipelineConfig":
    """The configuration of a run; nothing is read but the model that it starts from.

    >>> config = configure("data", "root", "demo", train={"steps": 200}, evaluation={"sets": ["lfw"]})
    >>> config.train.steps, config.train.warmup_steps, config.evaluation.sets
    (200, 10, ('lfw',))

    Args:
      data: folder as InsightFace publishes it.
      root: folder of everything that the run writes.
      preset: a name that `arcface-tfx presets` lists; None with `init_from` takes `finetune`, and none
        with a backbone in `train`.
      init_from: folder of a training run or an import to start from.
      beam_runner: where Beam's jobs run, see docs/how-to/cluster.md.
      beam_args: Beam's options, "--NAME=VALUE" each.
      **settings: by section, `ingest`, `train` and `evaluation`, what `arcface-tfx settings` lists.

    Raises:
      DataError: an unknown preset, setting or option, or a value that is not allowed; names it.
    """
    from pipeline import running
    from pipeline.config_file import as_override
    from pipeline.sections import SECTIONS

    for name, section in settings.items():
        if name in SECTIONS:
            check(name, section, MAPPING)
            continue
        like = did_you_mean(name, ("data", "root", "preset", "init_from", "beam_runner", "beam_args", *SECTIONS))
        raise DataError(f"{name}: expected one of the sections {', '.join(SECTIONS)}. Received: {name!r}{like}")

    return running.configure(
        os.fspath(data),
        os.fspath(root),
        preset,
        [
            as_override(f"{section}.{name}", value)
            for section, named in settings.items()
            for name, value in named.items()
        ],
        None if init_from is None else os.fspath(init_from),
        beam_runner=beam_runner,
        beam_given=beam_args,
    )


def _is_config(value: Any) -> bool:
    config = sys.modules.get("pipeline.config")  # nobody has a configuration before it is imported
    return config is not None and isinstance(value, config.PipelineConfig)


_CONFIG = Kind("what `configure` gave", _is_config).or_none()


@checked(config=_CONFIG, wait=FLAG, configuration=ANYTHING)
def run(config: "PipelineConfig | None" = None, *, wait: bool = False, **configuration: Any) -> "RunSummary":
    """Trains, judges and pushes a model on this machine, as `arcface-tfx run` does.

    What has not changed since the last run in the same root comes from the cache. A training that was stopped goes on.

        summary = run(data="faces", root="build/mine", preset="r50", train={"steps": 20_000})
        if summary.pushed:
            model = load(summary.pushed)
        else:
            print(summary.verification["conditions"])

    Args:
      config: what `configure` gave; or give its arguments here by name:
      wait: wait for another run in the same root, in place of an error.
      **configuration: `data`, `root`, `preset`, `init_from`, `beam_runner`, `beam_args`, and settings by section as
        `ingest`, `train` and `evaluation`; see `configure`.

    Returns:
      What it came to: `verification` with the figures of each set and the verdict, `nodes` and what each did, `report`,
      `model`, `tensorboard`, and `pushed`, the folder of the pushed version, which `load` takes; None if it was not
      blessed.

    Raises:
      DataError: a setting, the data set, or memory; see `arcface-tfx run`.
    """
    from pipeline.surroundings import settle

    config = _prepared(config, configuration)
    with kept_environment(), temporary_files_aside():  # the caller's environment
        settle()
        from pipeline.runners.local import run_local

        return run_local(config, wait)


@checked(config=_CONFIG, configuration=ANYTHING)
def dry_run(config: "PipelineConfig | None" = None, **configuration: Any) -> "Forecast":
    """Runs every node on a few hundred records in a temporary folder, as `arcface-tfx run --dry-run` does.

        found = dry_run(data="faces", root="build/mine", preset="r50")
        print(found.total_seconds, found.images_per_second, found.memory)

    Args:
      config: see `run`.
      **configuration: see `run`.

    Returns:
      What the whole run will take. The model is thrown away, and nothing in the root changes.

    Raises:
      DataError: see `run`; a run that needs other machines.
    """
    from pipeline.surroundings import settle

    config = _prepared(config, configuration)
    with kept_environment():
        settle()
        from pipeline.dry_run import dry_run as try_out

        return try_out(config)


def _prepared(config: "PipelineConfig | None", configuration: Mapping[str, Any]) -> "PipelineConfig":
    """The configuration, checked."""
    from pipeline.running import prepare

    if (config is None) == (not configuration):
        raise DataError("expected a config, or the arguments of `configure` by name. Received: both or neither")
    return prepare(configure(**configuration) if config is None else config)
