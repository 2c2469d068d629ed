"""The pipeline as a pure function of its configuration, the same for every runner."""

import importlib.resources
import json
from typing import Any

import tensorflow_data_validation as tfdv
from tfx.components.pusher.component import Pusher
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.transform.component import Transform
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration import metadata, pipeline
from tfx.proto import pusher_pb2

from arcface_common import features
from components.anomaly_gate import AnomalyGate
from components.curated_schema import curated_schema
from components.data_digest.component import DataDigest
from components.latest_blessed.component import LatestBlessed
from components.pair_example_gen import component as pair_example_gen
from components.record_example_gen import component as record_example_gen
from components.trainer.component import Trainer
from evaluator_custom.component import VerificationEvaluator
from pipeline.config import PipelineConfig
from pipeline.node_code import node_code
from serving.exporter.component import Exporter
from serving.pusher import BLESSED_KEY, CheckedPusherExecutor
from trainer_module.run_fn import CLUSTER_JOB_KEY


def schema_text(name: str) -> str:
    """A curated schema that ships with the package: "examples", "statistics" or "pairs"."""
    return (importlib.resources.files("trainer_module") / "schema" / f"{name}.pbtxt").read_text()


def _schema(name: str) -> BaseNode:
    """The node that holds a curated schema."""
    node = {"examples": "ExampleSchema", "statistics": "StatisticsSchema", "pairs": "PairSchema"}[name]
    return curated_schema(schema_text(name)).with_id(node)


def create_pipeline(
    config: PipelineConfig, metadata_path: str | None = None, cluster_job: dict[str, Any] | None = None
) -> pipeline.Pipeline:
    """Wires the nodes.

    Args:
      config: where the data is, where results go, how to train and what a model is judged by.
      metadata_path: SQLite file of ML Metadata for a local run; None where the platform has its own.
      cluster_job: the TrainJob or TFJob by which pods of their own train; None trains in the Trainer's.

    Returns:
      A TFX pipeline.
    """
    # What the data holds, which is part of the keys of what reads it.
    digests = DataDigest(
        data=config.data,
        record_files=json.dumps(record_example_gen.FILES),
        pair_files=json.dumps(pair_example_gen.files_of(config.set_files)),
        work=config.work_dir,
        conditions=", ".join(map(str, config.evaluation.parsed_conditions)),
        sets=json.dumps(config.evaluated_sets),
    )
    # train.rec to shuffled, sharded Examples; the JPEG bytes stay as they are from here to the accelerator's host.
    record_examples = record_example_gen.RecordExampleGen(
        config.data, config.ingest, work=config.work_dir, content=digests.outputs["records"].future()[0].value
    )
    # The verification sets, one split each; one may be drawn of identities that ingest keeps out of training.
    pair_examples = pair_example_gen.PairExampleGen(
        config.data,
        config.set_files,
        max_image_pixels=config.ingest.max_image_pixels,
        max_set_mb=config.evaluation.max_set_mb,
        work=config.work_dir,
        content=digests.outputs["pairs"].future()[0].value,
        drawn=config.drawn,
        records=record_examples.outputs["examples"] if config.drawn else None,
    )
    # Label and key alone: statistics of image bytes would cost more than the training input.
    statistics = StatisticsGen(
        examples=record_examples.outputs["examples"],
        stats_options=tfdv.StatsOptions(feature_allowlist=[features.LABEL, features.KEY]),
    )
    # A schema without the image: the one for training would report it as dropped.
    statistics_schema = _schema("statistics")
    pair_schema = _schema("pairs")
    # Anomalies stop the pipeline here, before an hour of training.
    gate = AnomalyGate(
        statistics=statistics.outputs["statistics"],
        schema=statistics_schema.outputs["schema"],
    ).with_id("ExampleValidator")
    # A checkpoint, trained or given, as the SavedModel that is evaluated and served.
    inputs = (record_examples, pair_examples, gate)
    training = _training(config, *inputs, metadata_path, cluster_job) if config.train.steps else []
    exporter = Exporter(
        max_image_pixels=config.train.max_image_pixels,
        backbone=config.train.backbone,
        model_run=training[-1].outputs["model_run"] if training else None,
        # A local run hands the folder over by the environment: its digest stands for it in the key.
        start="" if training or metadata_path else config.train.init_from,
        start_digest="" if training else config.init_digest,
    )
    exporter.add_upstream_node(gate)
    # What the candidate is compared with; its record remembers the best model so far.
    latest_blessed = LatestBlessed(records=config.blessed_dir).with_id("LatestBlessedModel")
    # 10-fold verification; blesses a model that fulfils every condition.
    evaluator = VerificationEvaluator(
        examples=pair_examples.outputs["examples"],
        model=exporter.outputs["model"],
        baseline=latest_blessed.outputs["baseline"].future()[0].value,
        training_examples=record_examples.outputs["examples"],
        schema=pair_schema.outputs["schema"],
        sets=config.evaluated_sets,
        conditions=config.evaluation.parsed_conditions,
        folds=config.evaluation.folds,
        start="" if metadata_path else config.train.init_from,
        start_digest=config.init_digest,
    )
    # Loads the blessed model anew, compares its embeddings, and makes it visible to TF Serving.
    pusher = Pusher(
        model=exporter.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=config.serving_dir)
        ),
        custom_config={"code_version": node_code("Pusher"), BLESSED_KEY: config.blessed_dir},
        custom_executor_spec=executor_spec.ExecutorClassSpec(CheckedPusherExecutor),
    )
    return pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.pipeline_root,
        components=[
            digests,
            record_examples,
            pair_examples,
            statistics,
            statistics_schema,
            pair_schema,
            gate,
            *training,
            exporter,
            latest_blessed,
            evaluator,
            pusher,
        ],
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(metadata_path) if metadata_path else None,
        beam_pipeline_args=list(config.beam_args),
    )


def _training(
    config: PipelineConfig,
    examples: BaseNode,
    pairs: BaseNode,
    gate: BaseNode,
    metadata_path: str | None,
    cluster_job: dict[str, Any] | None,
) -> list[BaseNode]:
    """The nodes of a training, which wait for the gate; the Trainer is the last one."""
    schema = _schema("examples")
    # Counts the identities and maps each to a class index; images pass through undecoded and are not materialized.
    transform = Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="trainer_module.preprocessing.preprocessing_fn",
        custom_config={"code_version": node_code("Transform")},
        materialize=False,
        disable_statistics=True,
    )
    transform.add_upstream_node(gate)
    # Trains on one worker or many.
    trainer = Trainer(
        examples=examples.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        steps=config.train.steps,
        backbone=config.train.backbone,
        holdout=bool(config.ingest.holdout),
        pair_examples=pairs.outputs["examples"] if config.train.verify_every else None,
        keeps_best=config.train.keep == "best",
        work=config.training_dir if metadata_path or cluster_job else "",
        custom_config={
            # A local run hands the other settings over by the environment; a container has its properties alone.
            "settings": config.train.result_settings() if metadata_path else config.train.to_dict(),
            "any_size": config.ingest.any_size,
            "init_digest": config.init_digest,
            **({CLUSTER_JOB_KEY: cluster_job} if cluster_job else {}),
            **({"folds": config.evaluation.folds} if config.train.verify_every else {}),
        },
    )
    return [schema, transform, trainer]
