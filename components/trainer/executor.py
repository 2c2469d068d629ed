"""Executor of the Trainer."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.trainer import fn_args_utils
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.types.standard_component_specs import (
    CUSTOM_CONFIG_KEY,
    EVAL_ARGS_KEY,
    EXAMPLES_KEY,
    MODEL_RUN_KEY,
    TRAIN_ARGS_KEY,
    TRANSFORM_GRAPH_KEY,
)

from arcface_common import filesystem
from arcface_common.aside import file_aside, folder_aside
from arcface_common.console import say
from arcface_common.errors import setting_argument
from trainer_module.run_fn import CLUSTER_JOB_KEY, run_fn
from trainer_module.shares import of_length
from trainer_module.training.kept_steps import ENDED_FILE, has_ended, newest_step, remove_ended

_REDISTRIBUTED = ("workers", "shard_centres")  # another distribution of the same training
_OWN_STATISTICS = ("batch", "batch_renorm")  # norms whose statistics are those of each worker's images
_SETTINGS_FILE, _MOST_NAMED = "settings.json", 3
WORK_KEY, PAIRS_KEY, STEPS_KEY = "work", "pair_examples", "steps"


class TrainerExecutor(base_executor.BaseExecutor):
    """Runs `run_fn` with TFX's FnArgs; TFX's own executor insists on a SavedModel.

    In the folder `work` a training that was stopped finds where it was, if all is as it was.
    """

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains.

        Raises:
          DataError: no steps; see `run_fn`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        folder = exec_properties[WORK_KEY] and os.path.join(
            exec_properties[WORK_KEY], _name(input_dict, exec_properties)
        )
        if folder:
            _begin(folder, json.loads(exec_properties[CUSTOM_CONFIG_KEY])["settings"])
        if CLUSTER_JOB_KEY in json.loads(exec_properties[CUSTOM_CONFIG_KEY]):
            _share(input_dict, folder)
        fn_args = fn_args_utils.get_common_fn_args(input_dict, exec_properties)
        fn_args.data_digest = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY]).get_string_custom_property(
            "content_digest"
        )
        fn_args.custom_config["settings"] = of_length(fn_args.custom_config["settings"], exec_properties[STEPS_KEY])
        fn_args.model_run_dir = artifact_utils.get_single_uri(output_dict[MODEL_RUN_KEY])
        if PAIRS_KEY in input_dict:
            fn_args.custom_config["pairs"] = _pairs(artifact_utils.get_single_instance(input_dict[PAIRS_KEY]))
        if folder:
            fn_args.working_dir = folder
        run_fn(fn_args)
        if CLUSTER_JOB_KEY in fn_args.custom_config:  # elsewhere the run removes it, which knows what is recorded
            remove_ended(exec_properties[WORK_KEY])


def _begin(folder: str, settings: dict[str, Any]) -> None:
    """Makes a training's folder with its settings; says which stopped training it doesn't go on with, and why.

    Of one that it goes on with, it says whether another number of workers makes another model of it.

    Args:
      folder: of the training, beside those of others.
      settings: fields of TrainSettings.
    """
    here = Path(folder)
    if not here.exists():
        others = (other for other in here.parent.glob("*") if not has_ended(str(other)))
        stopped = {other: step for other in others if (step := newest_step(str(other)))}
        if stopped:
            latest = max(stopped, key=lambda other: other.stat().st_mtime)
            why = _differences(latest / _SETTINGS_FILE, settings)
            say(f"  a new training: the one that was stopped at step {stopped[latest]:,} had {why}")
        here.mkdir(parents=True)
    elif step := newest_step(folder):
        _say_other_workers(_read(here / _SETTINGS_FILE), settings, step)
    (here / ENDED_FILE).unlink(missing_ok=True)  # its results were lost before they were recorded
    with file_aside(here / _SETTINGS_FILE) as aside:
        aside.write_text(json.dumps(settings))


def _differences(file: Path, settings: dict[str, Any]) -> str:
    """In words, what another training's file of settings has otherwise."""
    before = _read(file)
    now = json.loads(json.dumps(settings))  # a tuple becomes a list, as it is there
    other = [name for name in now if name in before and before[name] != now[name] and name not in _REDISTRIBUTED]
    words = [setting_argument(f"train.{name}={json.dumps(before[name])}") for name in other[:_MOST_NAMED]]
    more = " and others" if len(other) > _MOST_NAMED else ""
    return f"{' '.join(words)}{more}" if words else "other data or code"


def _read(file: Path) -> dict[str, Any]:
    """A training's settings; none of one that has no such file."""
    found: dict[str, Any] = json.loads(filesystem.read_file(str(file))) if file.exists() else {}
    return found


def _say_other_workers(before: dict[str, Any], settings: dict[str, Any], step: int) -> None:
    """Says that a training goes on with another number of workers, where its model hangs on that."""
    workers, norm = settings["workers"], settings["norm"]
    if before.get("workers", workers) != workers and norm in _OWN_STATISTICS and not settings["frozen_statistics"]:
        say(
            f"WARNING step {step:,} was reached with train.workers={before['workers']}, not {workers}: "
            f"train.norm={norm} takes its statistics over each worker's images, so that the model will be another "
            "(sync_batch and group give the same)"
        )


def _share(input_dict: dict[str, list[types.Artifact]], folder: str) -> None:
    """Has artifacts point to where all pods see them: a folder of this one's alone is copied, once.

    Args:
      input_dict: artifacts, whose URIs are changed.
      folder: of the training, right below one of the root's, which is on a volume of all pods.
    """
    root = Path(folder).parent.parent
    for key in (EXAMPLES_KEY, TRANSFORM_GRAPH_KEY, PAIRS_KEY):
        for artifact in input_dict.get(key, ()):
            if filesystem.is_local(artifact.uri) and not Path(artifact.uri).is_relative_to(root):
                copied = Path(folder, "inputs", key)
                if not copied.exists():
                    with folder_aside(copied) as aside:
                        shutil.copytree(artifact.uri, aside, dirs_exist_ok=True)
                artifact.uri = str(copied)


def _pairs(examples: types.Artifact) -> dict[str, list[str]]:
    """Globs of the shards of each verification set."""
    names = artifact_utils.decode_split_names(examples.split_names)
    return {name: [os.path.join(artifact_utils.get_split_uri([examples], name), "*")] for name in names}


def _name(input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]) -> str:
    """A name that goes by all that decides what training comes to, as TFX's cache key does.

    Numbers of artifacts alone don't tell: where ML Metadata is lost, they are given again. The number of workers,
    what they are, and whether they split the centres is left out: they share one state and one order of the data, so
    that a training goes on with any number of them.
    """
    inputs = [
        (artifact.id, artifact.get_string_custom_property("content_digest"), _sizes(artifact.uri))
        for key in (EXAMPLES_KEY, TRANSFORM_GRAPH_KEY, PAIRS_KEY)
        for artifact in input_dict.get(key, ())
    ]
    config = json.loads(exec_properties[CUSTOM_CONFIG_KEY])
    config.pop(CLUSTER_JOB_KEY, None)
    config["settings"] = {name: value for name, value in config["settings"].items() if name not in _REDISTRIBUTED}
    parts = [inputs, *(exec_properties[key] for key in (TRAIN_ARGS_KEY, EVAL_ARGS_KEY, STEPS_KEY)), config]
    return f"training-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"


def _sizes(folder: str) -> list[tuple[str, int]]:
    """Names and sizes of all files below a folder: another order of records makes other sizes."""
    paths = filesystem.files_below(folder)
    return [(os.path.relpath(path, folder), filesystem.size(path)) for path in paths]
