"""Runs the pipeline on this machine: LocalDagRunner, Beam in this process, ML Metadata in SQLite."""

import contextlib
import time
import warnings
from collections.abc import Iterator
from typing import Any

from arcface_common.console import is_live, progress, say, waiting
from arcface_common.replaced import kept_environment, replaced
from arcface_common.run_log import note
from components.record_example_gen.stores import remove_stores
from pipeline.config import PipelineConfig
from pipeline.runners.cache_key import keys_without_root
from pipeline.runs.artifacts import full_disk_named, record_files
from pipeline.runs.reconcile import reconcile
from pipeline.runs.recording import Recording, recorded_run
from pipeline.runs.tables import summary_lines
from pipeline.summary import LOOK_UPS, RESOLVED, RunSummary, summarize
from trainer_module.settings import HANDED_OVER
from trainer_module.training.kept_steps import remove_ended


@contextlib.contextmanager
def _node_progress(nodes: int, recording: Recording) -> Iterator[None]:
    """Shows which node runs, says how long each took, and takes it down.

    LocalDagRunner offers no hook, and what it logs is lost as soon as a node sets another log level: so the launcher's
    one public method is wrapped for the time of the run.

    Args:
      nodes: how many there are, without those that only look something up.
      recording: of the run.
    """
    from tfx.orchestration.portable.launcher import Launcher

    launch = Launcher.launch

    with progress(total=nodes, description="pipeline", unit="node", remaining=False, disable=not is_live()) as bar:

        def observed(launcher: Launcher) -> Any:
            info = launcher._pipeline_node.node_info
            node, looks_up = info.id, info.type.name in LOOK_UPS
            bar.set_postfix_str(node)
            note(f"  {node} begins")
            begun = time.monotonic()
            try:
                execution = launch(launcher)
            except BaseException as error:
                seconds = time.monotonic() - begun
                recording.node(node, "failed", seconds, [])
                say(f"  {node:<20} {seconds:6.1f} s  {'stopped' if isinstance(error, KeyboardInterrupt) else 'failed'}")
                raise
            seconds = time.monotonic() - begun
            # Of a node that came from the cache, the launcher gives no place for its executor's output.
            ran = bool(execution.execution_output_uri)
            made = [artifact for many in execution.output_dict.values() for artifact in many] if ran else []
            outputs = [artifact.uri for artifact in made]
            for output in outputs if not looks_up else []:
                record_files(output)
            recording.node(node, RESOLVED if looks_up else "ran" if ran else "cached", seconds, outputs)
            if not looks_up:
                say(f"  {node:<20} {seconds:6.1f} s{'' if ran else '  cached'}")
                bar.update()
            return execution

        with replaced(Launcher, "launch", observed):
            yield


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
    with recorded_run(config, wait) as recording:
        return run_nodes(config, recording)


def run_nodes(config: PipelineConfig, recording: Recording) -> RunSummary:
    """What `run_local` does while it holds the root.

    Args:
      config: the configuration.
      recording: of the run, whose name it gets in ML Metadata.

    Raises:
      DataError: see `run_local`.
    """
    with full_disk_named(config.metadata_path):
        return _run_nodes(config, recording)


def _run_nodes(config: PipelineConfig, recording: Recording) -> RunSummary:
    reconcile(config)
    recording.read_data()
    begun = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own deprecations, on every import and run
        with waiting("loading TFX"):
            runner = _named_runner(recording.name)

            from pipeline.create import create_pipeline

        tfx_pipeline = create_pipeline(config, config.metadata_path)
        say(f"  {'(imports)':<20} {time.monotonic() - begun:6.1f} s")
        nodes = sum(component.type not in LOOK_UPS for component in tfx_pipeline.components)
        with (
            _node_progress(nodes, recording),
            keys_without_root(config.root),
            kept_environment({HANDED_OVER: config.train.hand_over()}),
        ):
            runner.run(tfx_pipeline)
    remove_stores(config.work_dir)
    remove_ended(config.training_dir)
    summary = summarize(config, recording.name)
    recording.end(summary.to_dict(), summary_lines(summary, recording.folder, recording.log))
    return summary


def _named_runner(run: str) -> Any:
    """A LocalDagRunner whose run has a name of our choice, and that always looks up what can change unseen."""
    from tfx.dsl.compiler import constants
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter
    from tfx.proto.orchestration import pipeline_pb2

    class NamedRunner(LocalDagRunner):
        def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: Any = None) -> None:
            substitute_runtime_parameter(pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run})
            for node in (each.pipeline_node for each in pipeline.nodes):
                if node.node_info.type.name in LOOK_UPS:
                    node.execution_options.caching_options.enable_cache = False
            super().run_with_ir(pipeline, run_options)

    return NamedRunner()
