"""From what a person asks for to a run on this machine; TFX is imported by the run itself."""

import dataclasses
import os
from collections.abc import Sequence

from arcface_common.filesystem import is_local
from pipeline.beam import beam_args, check_with_beam
from pipeline.config import PipelineConfig, make_config
from pipeline.config_file import ConfigFile


def configure(
    data: str,
    root: str,
    preset: str | None,
    overrides: Sequence[str] = (),
    init_from: str | None = None,
    *,
    beam_runner: str = "local",
    beam_given: Sequence[str] = (),
    file: ConfigFile | None = None,
) -> PipelineConfig:
    """The configuration of a run on this machine.

    Args:
      data: see `make_config`; a relative path is one of the working folder, as for `root`.
      root: see `make_config`.
      preset: see `make_config`.
      overrides: see `make_config`.
      init_from: see `make_config`.
      beam_runner: a name in `beam.RUNNERS`.
      beam_given: Beam's options, "--NAME=VALUE" each.
      file: see `make_config`.

    Raises:
      DataError: see `make_config`; an unknown option of Beam's.
    """
    data, root = (os.path.abspath(path) if is_local(path) else path for path in (data, root))
    config = make_config(data, root, preset, overrides, init_from, file=file)
    return dataclasses.replace(config, beam_args=beam_args(beam_runner, tuple(beam_given)))


def prepare(config: PipelineConfig) -> PipelineConfig:
    """Checks whatever can be checked before TFX is imported.

    Args:
      config: of the run.

    Returns:
      The configuration with the verification sets that are there.

    Raises:
      DataError: see `preflight.check_run`; Beam's options don't fit this machine.
    """
    from pipeline.preflight import check_run

    config = check_run(config)
    check_with_beam(config.beam_args, here=True)
    return config
