"""Runs the pipeline on this machine: LocalDagRunner, Beam in this process, ML Metadata in SQLite."""

import contextlib
import os
import time
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

from components.record_example_gen.stores import remove_stores
from pipeline.cache_key import keys_without_root
from pipeline.config import PipelineConfig
from pipeline.reconcile import reconcile
from pipeline.run_lock import run_lock
from pipeline.summary import RunSummary, summarize
from trainer_module.console import is_live, progress, say, waiting
from trainer_module.settings import HANDED_OVER


@contextlib.contextmanager
def _node_progress(nodes: int) -> Iterator[set[str]]:
    """Shows which node runs, and says how long each took; gives the run's name in ML Metadata, once a node has run.

    LocalDagRunner offers no hook, and what it logs is lost as soon as a node sets another log level: so the launcher's
    one public method is wrapped for the time of the run.
    """
    from tfx.orchestration.portable.launcher import Launcher

    launch = Launcher.launch
    runs: set[str] = set()

    with progress(total=nodes, description="pipeline", unit="node", remaining=False, disable=not is_live()) as bar:

        def observed(launcher: Launcher) -> Any:
            node = launcher._pipeline_node.node_info.id
            runs.add(launcher._pipeline_runtime_spec.pipeline_run_id.field_value.string_value)
            bar.set_postfix_str(node)
            begun = time.monotonic()
            execution = launch(launcher)
            state = "" if execution else "  (cached)"
            say(f"  {node:<20} {time.monotonic() - begun:6.1f} s{state}")
            bar.update()
            return execution

        with mock.patch.object(Launcher, "launch", observed):
            yield runs


def run_local(config: PipelineConfig, wait: bool = False) -> RunSummary:
    """Runs every node whose inputs, settings or code have changed since they last ran, or whose outputs are gone.

    Args:
      config: the configuration.
      wait: wait for another run in the same root, instead of raising.

    Returns:
      What the run came to.

    Raises:
      DataError: the data set is not what its format says, another run holds the root, or ML Metadata is damaged.
    """
    with run_lock(config.root, wait):
        reconcile(config)
        begun = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TFX's own deprecations, on every import and run
            with waiting("loading TFX"):
                from tfx.orchestration.local.local_dag_runner import LocalDagRunner

                from pipeline.create import create_pipeline

            tfx_pipeline = create_pipeline(config, config.metadata_path)
            say(f"  {'(imports)':<20} {time.monotonic() - begun:6.1f} s")
            with (
                _node_progress(len(tfx_pipeline.components)) as runs,
                keys_without_root(config.root),
                mock.patch.dict(os.environ, {HANDED_OVER: config.train.hand_over()}),
            ):
                LocalDagRunner().run(tfx_pipeline)
        remove_stores(config.work_dir)
        (run,) = runs
        return summarize(config, run)
