"""User code of the Trainer node."""

from typing import Any

from arcface_common.errors import DataError
from arcface_common.features import FEWEST_IDENTITIES
from arcface_common.model_metadata import ModelMetadata
from trainer_module import backbones
from trainer_module.data.pairs import PairSplits
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings
from trainer_module.training import loop, resumption
from trainer_module.training.start import write_identities
from trainer_module.training.state import number_of_classes
from trainer_module.workers import cluster_job, supervisor
from trainer_module.workers.cluster import given_task
from trainer_module.workers.job import TrainingJob

CLUSTER_JOB_KEY = "cluster_job"


def run_fn(fn_args: Any) -> None:
    """Trains on one worker or many; leaves a checkpoint, `identities.txt` and the `model.json` that says what it is of.

    Args:
      fn_args: TFX's FnArgs. `custom_config["settings"]` holds the fields of TrainSettings (in a local run those that
        decide the result: the environment tells the others), `["any_size"]` whether images may have other sizes than
        112x112; where verification sets judge while training, `["pairs"]` holds globs of each, and `["folds"]` how
        they are cut; `["cluster_job"]`, if it is there, the manifest of a TrainJob or TFJob whose pods train.
        `train_files` are globs of the train split, `eval_files` of the hold-out split, or the same again if there is
        none. `data_digest` goes into `model.json`. `model_run_dir` receives checkpoint, `model.json`, TensorBoard,
        curve, `holdout.json` and `verified.json`. `working_dir`, if there is one, keeps what a training that is
        stopped goes on from, and goes when it ends.

    Raises:
      DataError: TF_CONFIG names a cluster that the settings don't, or there are images of one identity alone.
      WorkerError: one of several workers failed.
    """
    settings = TrainSettings.from_dict(fn_args.custom_config["settings"])
    joined = given_task(settings)  # before TensorFlow starts a server for whatever stands there
    train, evaluated = (
        Split(list(files), fn_args.transform_graph_path, fn_args.custom_config["any_size"])
        for files in (fn_args.train_files, fn_args.eval_files)
    )
    classes = number_of_classes(fn_args.transform_graph_path)
    if classes < FEWEST_IDENTITIES:
        raise DataError(f"training: expected images of two identities or more to tell apart. Received: of {classes}")
    job = TrainingJob(
        train=train,
        run_dir=fn_args.model_run_dir,
        settings=settings,
        # TFX insists on a split to evaluate on; where there is no hold-out split, it is told the train split.
        holdout=None if evaluated == train else evaluated,
        pairs=_pairs(settings, fn_args.custom_config),
        # The hosts of a cluster that was joined share no folder, and so don't know where the others would go on.
        work_dir="" if joined else fn_args.working_dir or "",
    )
    if manifest := fn_args.custom_config.get(CLUSTER_JOB_KEY):
        cluster_job.train_in_pods(job, manifest)
    elif settings.workers > 1:
        supervisor.run_workers(job, joined)
    else:
        loop.train(job)
    write_identities(fn_args.transform_graph_path, job.run_dir)
    code_version = fn_args.custom_config.get("code_version", "")
    _metadata(settings, classes, data_digest=fn_args.data_digest, code_version=code_version).write(job.run_dir)
    resumption.finish(job.work_dir, job.run_dir)


def _pairs(settings: TrainSettings, custom_config: dict[str, Any]) -> PairSplits | None:
    """The verification sets that the training is judged by meanwhile; None where it isn't."""
    if not settings.verify_every:
        return None
    patterns = custom_config["pairs"]
    return PairSplits({name: patterns[name] for name in settings.verify_sets or patterns}, custom_config["folds"])


def _metadata(settings: TrainSettings, classes: int, *, data_digest: str, code_version: str) -> ModelMetadata:
    """What `model.json` says about the network that was trained."""
    options = settings.build_options()
    return ModelMetadata(
        backbone=settings.backbone,
        options=options,
        # `build` holds every network to this.
        embedding_dim=options.get("embedding_dim", backbones.spec(settings.backbone).embedding_dim),
        pixel_format=settings.pixel_format(),
        classes=classes,
        training=settings.to_dict(),
        max_image_pixels=settings.max_image_pixels,
        data_digest=data_digest,
        code_version=code_version,
    )
