"""User code of the Trainer node."""

from typing import Any

from arcface_common.errors import DataError
from arcface_common.features import FEWEST_IDENTITIES
from arcface_common.model_metadata import ModelMetadata
from trainer_module import backbones
from trainer_module.settings import TrainSettings
from trainer_module.training import loop
from trainer_module.training.state import number_of_classes
from trainer_module.workers import distribution
from trainer_module.workers.cluster import given_task
from trainer_module.workers.job import TrainingJob


def run_fn(fn_args: Any) -> None:
    """Trains on one worker or many; leaves a checkpoint with the `model.json` that says what it is of.

    Args:
      fn_args: TFX's FnArgs. `custom_config["settings"]` holds the fields of TrainSettings (in a local run those that
        decide the result: the environment tells the others), `["any_size"]` whether
        images may have other sizes than 112x112; `train_files` are globs of the train split, `eval_files` of the
        hold-out split, or the same again if there is none; `model_run_dir` receives checkpoint, `model.json`,
        TensorBoard, curve and `holdout.json`.

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
    if classes < FEWEST_IDENTITIES:
        raise DataError(f"training: expected images of two identities or more to tell apart. Received: of {classes}")
    if settings.workers > 1:
        distribution.run_workers(job, joined)
    else:
        loop.train(job)
    _metadata(settings, classes).write(job.run_dir)


def _metadata(settings: TrainSettings, classes: int) -> ModelMetadata:
    """What `model.json` says about the network that was trained."""
    options = settings.build_options()
    return ModelMetadata(
        backbone=settings.backbone,
        options=options,
        embedding_dim=backbones.build(settings.backbone, **options).output_shape[-1],
        pixel_format=settings.pixel_format(),
        classes=classes,
        training=settings.to_dict(),
        max_image_pixels=settings.max_image_pixels,
    )
