"""Runs the pipeline on this machine: LocalDagRunner, Beam in this process, ML Metadata in SQLite."""

import contextlib
import os
import time
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

from pipeline.config import PipelineConfig
from pipeline.summary import RunSummary, summarize
from trainer_module.console import is_live, progress, say


@contextlib.contextmanager
def _node_progress(nodes: int) -> Iterator[None]:
    """Shows which node runs, and says how long each took.

    LocalDagRunner offers no hook, and what it logs is lost as soon as a node sets another log level: so the launcher's
    one public method is wrapped for the time of the run.
    """
    from tfx.orchestration.portable.launcher import Launcher

    launch = Launcher.launch

    with progress(total=nodes, description="pipeline", unit="node", disable=not is_live()) as bar:

        def observed(launcher: Launcher) -> Any:
            node = launcher._pipeline_node.node_info.id
            bar.set_postfix_str(node)
            begun = time.monotonic()
            execution = launch(launcher)
            state = "" if execution else "  (cached)"
            say(f"  {node:<20} {time.monotonic() - begun:6.1f} s{state}")
            bar.update()
            return execution

        with mock.patch.object(Launcher, "launch", observed):
            yield


def run_local(config: PipelineConfig) -> RunSummary:
    """Runs every node whose inputs, settings or code have changed since they last ran.

    Args:
      config: the configuration.

    Returns:
      What the run came to.

    Raises:
      DataError: the data set is not what its format says.
    """
    begun = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own deprecations, on every import and run
        from tfx.orchestration.local.local_dag_runner import LocalDagRunner

        from pipeline.create import create_pipeline

        os.makedirs(config.root, exist_ok=True)
        tfx_pipeline = create_pipeline(config, config.metadata_path)
        say(f"  {'(imports)':<20} {time.monotonic() - begun:6.1f} s")
        with _node_progress(len(tfx_pipeline.components)):
            LocalDagRunner().run(tfx_pipeline)
    return summarize(config)
