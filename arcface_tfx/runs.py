"""Running the pipeline."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from arcface_common.errors import DataError
from arcface_common.replaced import kept_environment

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig
    from pipeline.summary import RunSummary


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

    for name, path in (("data", data), ("root", root), ("init_from", init_from)):
        if not isinstance(path, str | os.PathLike) and (path is not None or name != "init_from"):
            raise DataError(f"{name}: expected a path. Received: {path!r}")
    for section, named in settings.items():
        if not isinstance(named, Mapping):
            raise DataError(f"{section}: expected settings by name, such as {section}={{...}}. Received: {named!r}")
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


def run(config: "PipelineConfig | None" = None, *, wait: bool = False, **configuration: Any) -> "RunSummary":
    """Runs the pipeline on this machine, as `arcface-tfx run` does; what has not changed comes from the cache.

    Args:
      config: what `configure` gave; or its arguments by name, such as `data=..., root=..., preset="demo"`.
      wait: wait for another run in the same root, in place of an error.
      **configuration: see `configure`.

    Returns:
      What it came to. `pushed` is the folder of the pushed version, which `load` takes; None if it was not blessed.

    Raises:
      DataError: a setting, the data set, or memory; see `arcface-tfx run`.
    """
    from pipeline.running import prepare
    from pipeline.surroundings import settle

    if (config is None) == (not configuration):
        raise DataError("expected a config, or the arguments of `configure` by name. Received: both or neither")
    config = prepare(configure(**configuration) if config is None else config)
    with kept_environment():  # the caller's
        settle()
        from pipeline.runners.local import run_local

        return run_local(config, wait)
