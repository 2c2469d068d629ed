"""User code of the Trainer node: train, then export from the checkpoint."""

import dataclasses
import os
from typing import Any

from arcface_common.errors import DataError
from arcface_common.features import FEWEST_IDENTITIES
from arcface_common.model_metadata import ModelMetadata
from serving.export import export_saved_model
from trainer_module import backbones
from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints, loop
from trainer_module.training.curve import CURVE_FILE
from trainer_module.training.state import number_of_classes
from trainer_module.workers import distribution
from trainer_module.workers.cluster import given_task
from trainer_module.workers.job import TrainingJob


def run_fn(fn_args: Any) -> None:
    """Trains on one worker or many and writes the model that is served.

    The export reads the checkpoint into a network built without a strategy: so the SavedModel is the same whatever
    trained it, and no worker has to take part.

    Args:
      fn_args: TFX's FnArgs. `custom_config["settings"]` holds the fields of TrainSettings (in a local run those that
        decide the result: the environment tells the others), `["any_size"]` whether
        images may have other sizes than 112x112; `train_files` are globs of the train split, `eval_files` of the
        hold-out split, or the same again if there is none; `model_run_dir` receives checkpoint, TensorBoard, curve and
        `holdout.json`, `serving_model_dir` the SavedModel.

    Raises:
      DataError: TF_CONFIG names a cluster that the settings don't, or there are images of one identity alone.
      WorkerError: one of several workers failed.
    """
    settings = TrainSettings.from_dict(fn_args.custom_config["settings"])
    joined = given_task(settings)  # before TensorFlow starts a server for whatever stands there
    job = TrainingJob(
        train_patterns=list(fn_args.train_files),
        transform_graph=fn_args.transform_graph_path,
        run_dir=fn_args.model_run_dir,
        settings=settings,
        # TFX insists on a split to evaluate on; where there is no hold-out split, it is told the train split.
        holdout_patterns=[] if fn_args.eval_files == fn_args.train_files else list(fn_args.eval_files),
        any_size=fn_args.custom_config["any_size"],
    )
    classes = number_of_classes(job.transform_graph)
    if not settings.steps:
        job = dataclasses.replace(job, run_dir=settings.init_from)  # nothing to train: the checkpoint is there
    elif classes < FEWEST_IDENTITIES:
        raise DataError(f"training: expected images of two identities or more to tell apart. Received: of {classes}")
    elif settings.workers > 1:
        distribution.run_workers(job, joined)
    else:
        loop.train(job)

    backbone = backbones.build(settings.backbone, **settings.build_options())
    checkpoints.read_backbone(backbone, job.run_dir)
    metadata = ModelMetadata(
        backbone=settings.backbone,
        options=settings.build_options(),
        embedding_dim=backbone.output_shape[-1],
        pixel_format=settings.pixel_format(),
        classes=classes,
        training=settings.to_dict(),
        max_image_pixels=settings.max_image_pixels,
    )
    curve = os.path.join(job.run_dir, CURVE_FILE)
    export_saved_model(backbone, fn_args.serving_model_dir, metadata, beside=[curve])
    if settings.steps:
        metadata.write(fn_args.model_run_dir)  # beside the checkpoint, so that a later run can start from this one
