"""A dry run: every node on a few hundred records in a folder that is removed, to say what the whole run will take."""

import dataclasses
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arcface_common.aside import private_folder, temporary_files_aside
from arcface_common.console import say
from arcface_common.errors import ConfigError, argument
from arcface_common.features import CHANNELS, IMAGE_SIZE
from components.datasets.pair_facts import UNIT
from components.datasets.sample import sample_records, sample_set
from pipeline.checks.memory import available
from pipeline.config import PipelineConfig
from pipeline.forecast import Forecast, Measured, Whole, forecast
from pipeline.runs.folder import Run
from pipeline.summary import RunSummary

_STEPS = 4  # of each kind; the first makes the graph, and isn't counted
_SHARDS = 8  # at most
_KEPT_OUT = 0.5  # of the identities, where a set is drawn of them: a smaller share of 40 would be too few
_HERE = {"--runner=FnApiRunner", "--job_endpoint=embed"}  # runners whose workers see a temporary folder


def dry_run(config: PipelineConfig) -> Forecast:
    """Runs every node on a sample of the data, with the batch size and the network of the whole run.

    Args:
      config: of the whole run, checked by `running.prepare`. Nothing in its root changes.

    Raises:
      ConfigError: the run needs other machines.
      DataError: what the whole run would find wrong with data or settings.
    """
    _check_alone(config)
    left = available()
    with private_folder() as folder:
        data, root = Path(folder) / "data", Path(folder) / "root"
        data.mkdir()
        say(f"dry run, in {folder}, which is removed")
        records = sample_records(config.data, data, config.ingest.min_images_per_identity)
        sets = {name: sample_set(config.data, data, name, config.evaluation.max_set_mb) for name in config.set_files}
        whole = Whole.of(config, records, sets)
        measured = _measured(small(config, str(data), str(root)))
    return forecast(config, whole, measured, left)


def _check_alone(config: PipelineConfig) -> None:
    """Refuses what a folder of this machine can't show.

    Raises:
      ConfigError: names it.
    """
    flag = argument("dry_run")
    if config.train.join_cluster:
        raise ConfigError(f"{flag}: expected a training on this machine alone. Received: train.join_cluster=true")
    if not _HERE & set(config.beam_args):
        raise ConfigError(
            f"{flag}: expected a runner on this machine, local, processes or portable. "
            f"Received: {' '.join(config.beam_args)}"
        )


def small(config: PipelineConfig, data: str, root: str) -> PipelineConfig:
    """The configuration of the dry run: another place, few steps, and conditions that any model fulfils.

    Args:
      config: of the whole run.
      data: folder of the sample.
      root: where the dry run writes.
    """
    ingest, train, evaluation = config.ingest, config.train, config.evaluation
    frozen = _STEPS if train.freeze_steps else 0
    steps = min(train.steps, frozen + _STEPS)
    shorter: dict[str, Any] = {
        "steps": steps,
        "freeze_steps": frozen,
        "warmup_steps": min(train.warmup_steps, 1),
        "margin_warmup_steps": min(train.margin_warmup_steps, 1),
        "milestones": train.milestones and (2,),
        "verify_every": min(train.verify_every, steps),
        "holdout_every": min(train.holdout_every, steps) if ingest.holdout else train.holdout_every,
    }
    return dataclasses.replace(
        config,
        data=data,
        root=root,
        ingest=dataclasses.replace(
            ingest,
            shards=min(ingest.shards, _SHARDS),
            max_bad_share=1.0 if ingest.on_bad_record == "quarantine" else ingest.max_bad_share,
            verify_identities=_KEPT_OUT if ingest.verify_identities else 0.0,
        ),
        train=dataclasses.replace(
            train,
            **({} if steps == train.steps else shorter),
            log_every=1,
            checkpoint_every=0,
        ),
        evaluation=dataclasses.replace(
            evaluation,
            sets=config.evaluated_sets,
            conditions=(f"{config.evaluated_sets[0]}.accuracy >= 0",),
            verify_pairs=UNIT if ingest.verify_identities else 0,
        ),
    )


def _measured(config: PipelineConfig) -> Measured:
    """Runs the nodes."""
    from pipeline.runs.recording import recorded_run

    with recorded_run(config) as recording, temporary_files_aside():
        from pipeline.runners.local import run_nodes

        summary = run_nodes(config, recording)
        return _of(config, summary, Run.read(recording.folder))


def _of(config: PipelineConfig, summary: RunSummary, run: Run) -> Measured:
    """What a run that has ended tells."""
    from trainer_module import backbones
    from trainer_module.backbones.summary import summarize

    train = config.train
    network = summarize(backbones.build(train.backbone, **train.build_options()))
    told = _told(summary.tensorboard) if summary.tensorboard else {}
    seconds = [train.batch_size / rate for rate in told.get("images_per_second", ())]
    frozen, moving = seconds[: train.freeze_steps], seconds[train.freeze_steps :]
    ingest = summary.ingest or {}
    return Measured(
        images=ingest.get("train_records", 0),
        identities=ingest.get("identities", 0),
        parameters=network.parameters,
        embedding_dim=network.embedding_dim,
        frozen_step=_usual(frozen),
        step=_usual(moving),
        memory=round(1e9 * max(told.get("memory_gb", (0.0,)))),
        pair=_pair_seconds(str(summary.model)),
        nodes=sum(node["seconds"] for node in run.summary["nodes"]) - sum(seconds),
    )


def _usual(seconds: list[float]) -> float | None:
    """The median of all but the first; of the first alone where there is no other."""
    return statistics.median(seconds[1:] or seconds) if seconds else None


def _told(folder: str) -> Mapping[str, list[float]]:
    """The scalars of a training, in the order of the steps, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorflow import make_ndarray

    events = EventAccumulator(folder).Reload()
    names = [name for name in ("images_per_second", "memory_gb") if name in events.Tags()["tensors"]]
    return {name: [float(make_ndarray(point.tensor_proto)) for point in events.Tensors(name)] for name in names}


def _pair_seconds(model: str) -> float:
    """Seconds that a pair takes in an evaluation, of different images; the first call makes the graph."""
    import tensorflow as tf

    from evaluator_custom.networks.embedder import IMAGES_PER_CALL, PairEmbedder

    embedder = PairEmbedder(model)
    noise = np.random.default_rng(0).integers(0, 256, (IMAGES_PER_CALL, IMAGE_SIZE, IMAGE_SIZE, CHANNELS), np.uint8)
    images = [tf.io.encode_jpeg(pixels).numpy() for pixels in noise]
    embedder.embed(images)
    begun = time.monotonic()
    embedder.embed(images)
    return 2 * (time.monotonic() - begun) / len(images)
