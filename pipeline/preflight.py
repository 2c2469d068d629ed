"""What can be said about a data set's folder in a moment, before TFX is imported (16 s)."""

import dataclasses
import os

from arcface_common import filesystem
from arcface_common.bounded_file import MAX_TABLE_BYTES, check_size
from arcface_common.console import say
from arcface_common.errors import DataError, argument, did_you_mean, setting_argument
from arcface_common.features import FEWEST_IDENTITIES, VERIFY_SPLIT
from arcface_common.gpus import Gpus, find_gpus
from arcface_common.paths import check_regular
from arcface_common.protocol.conditions import Condition
from components.formats import recordio
from components.formats.pair_attributes import attributes_file, read_columns
from pipeline.checks.backbone import check_backbone
from pipeline.checks.files import check_data_files, check_writable
from pipeline.checks.memory import check_memory
from pipeline.checks.network import check_network
from pipeline.config import PipelineConfig
from pipeline.runs.folder import RUNS
from pipeline.runs.lock import LOCK_FILE
from trainer_module.workers.cluster import given_task


def check_run(config: PipelineConfig) -> PipelineConfig:
    """Checks whatever can be checked of a run on this machine; see `check_dataset`.

    Raises:
      DataError: the root can't be written to, TF_CONFIG names a cluster that the run isn't told to join, the backbone
        can't be built, the data set is not what its format says, or memory doesn't hold the training.
    """
    _check_root(config)
    given_task(config.train)
    check_backbone(config.train, here=True)
    if config.train.steps:
        say_obstacle(find_gpus())
    config = check_dataset(config)
    check_network(config.train)
    return config


def say_obstacle(found: Gpus) -> None:
    """Says what keeps TensorFlow from the GPUs of this machine, and what to do about it."""
    if found.obstacle:
        say(f"WARNING TensorFlow can't use {found.in_words()}, and trains on the CPU: {found.obstacle}")


def _check_root(config: PipelineConfig) -> None:
    """Checks that the root takes what a run writes: days of training would end with an error otherwise.

    Raises:
      DataError: it doesn't; names the folder or file.
    """
    runs = os.path.join(config.root, RUNS)
    for folder in (config.root, config.pipeline_root, config.work_dir, config.training_dir, runs, config.serving_dir):
        check_writable(folder)
    for file in (config.metadata_path, os.path.join(config.root, LOCK_FILE)):
        try:
            check_regular(file)
            with open(file, "r+b"):
                pass
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DataError(f"{file}: expected a file that can be written to. Received: {error.strerror}") from error


def check_dataset(config: PipelineConfig) -> PipelineConfig:
    """Checks that the folder holds a readable data set, and leaves out the usual verification sets that it lacks.

    Args:
      config: with the folder as `data`.

    Returns:
      The configuration with the sets that are there.

    Raises:
      DataError: no such folder, no `train.rec`, a broken one, or no file of a verification set that a setting names.
    """
    if filesystem.is_local(config.data) and not os.path.isdir(config.data):
        raise DataError(f"{config.data}: expected a folder as InsightFace publishes it. Received: no such folder")
    if filesystem.is_local(config.data):
        check_data_files(config.data)
    check_memory(config.train, _check_records(config))
    evaluation = config.evaluation
    _check_drawn(config)
    files = config.set_files
    required = evaluation.required_sets
    for name in dict.fromkeys((*required, *config.train.verify_sets)):
        if config.drawn and name == config.drawn.name:
            continue
        path = os.path.join(config.data, f"{name}.bin")
        if not filesystem.exists(path):
            setting = "evaluation.sets" if evaluation.sets else "evaluation.conditions"
            setting = setting if name in required else "train.verify_sets"
            received = f"{_sets_there(config.data, setting)}{did_you_mean(name, _sets_in(config.data))}"
            raise DataError(f"{path}: expected a verification set, which {setting} names. Received: {received}")
    _check_sizes(config)
    for condition in evaluation.parsed_conditions:
        if condition.kind == "gap":
            _check_column(config.data, condition)
    missing = [name for name in files if not filesystem.exists(os.path.join(config.data, f"{name}.bin"))]
    there = [name for name in config.evaluated_sets if name not in missing]
    if missing:
        skipped = ", ".join(f"{name}.bin" for name in missing)
        say(f"judged by {', '.join(there)}; not in {config.data}, skipped: {skipped}")
    if config.drawn:
        say(f"conditions: {', '.join(evaluation.conditions)} (evaluation.conditions)")
        if config.train.init_from:
            say(
                f"WARNING {config.drawn.name}: {config.train.init_from} may have been trained on its people; the "
                "verdict says so, and counts them where it was trained on the same files"
            )
    return dataclasses.replace(config, evaluation=dataclasses.replace(evaluation, sets=tuple(there)))


def _check_sizes(config: PipelineConfig) -> None:
    """Checks the files of the sets for their limits: their digest is taken before they are read.

    Raises:
      DataError: one is too large; names file and limit.
    """
    for name in config.set_files:
        for file, most, limit in (
            (f"{name}.bin", config.evaluation.max_set_mb << 20, "evaluation.max_set_mb"),
            (attributes_file(name), MAX_TABLE_BYTES, "MAX_TABLE_BYTES"),
        ):
            if filesystem.exists(path := os.path.join(config.data, file)):
                check_size(path, most, limit)


def _check_drawn(config: PipelineConfig) -> None:
    """Checks that the set that is drawn has its name for itself."""
    path = os.path.join(config.data, f"{VERIFY_SPLIT}.bin")
    if config.drawn and filesystem.exists(path):
        raise DataError(
            f"{path}: expected no file of the name of the set that {argument('verify_identities')} draws; call it "
            "otherwise. Received: one"
        )


def _sets_there(folder: str, setting: str) -> str:
    """Says which sets a folder has, with the settings that name one of them in place of what `setting` does."""
    names = _sets_in(folder)
    if not names:
        drawn = argument("verify_identities", "0.02")
        return f"no such file, and no other verification set ({drawn} keeps people out of training, and judges by them)"
    if setting == "train.verify_sets":
        first = setting_argument(f"{setting}={names[0]}")
        return f"no such file, but {', '.join(names)} (verify by the first with {first})"
    wanted = (f"evaluation.sets={names[0]}", f"'evaluation.conditions=[{names[0]}.accuracy >= 0.95]'")
    conditions = " ".join(map(setting_argument, wanted))
    return f"no such file, but {', '.join(names)} (judge by the first with {conditions})"


def _sets_in(folder: str) -> list[str]:
    """Names of the `.bin` files of a local folder."""
    files = sorted(os.listdir(folder)) if filesystem.is_local(folder) else []
    return [file.removesuffix(".bin") for file in files if file.endswith(".bin") and not file.startswith(".")]


def _check_column(folder: str, condition: Condition) -> None:
    """Checks that a set has the attribute whose slices a condition compares."""
    path = os.path.join(folder, attributes_file(condition.set))
    if not filesystem.exists(path):
        raise DataError(f"{path}: expected the attributes that {str(condition)!r} names. Received: no such file")
    columns = read_columns(path)
    if condition.column not in columns:
        raise DataError(
            f"{path}: expected the column {condition.column!r}, which {str(condition)!r} names. Received: {columns}"
        )


def _check_records(config: PipelineConfig) -> int:
    """Reads the index, the header and the identity records; the images are left to RecordExampleGen.

    Returns:
      How many identities will be trained on at most, as far as these records tell; else 2, the fewest that can be.
    """
    folder = config.data
    rec, idx = os.path.join(folder, recordio.REC_FILE), os.path.join(folder, recordio.IDX_FILE)
    if not filesystem.exists(rec):
        raise DataError(
            f"{rec}: expected a RecordIO file as InsightFace publishes it (of folders of faces, "
            "`arcface-tfx convert` makes one). Received: no such file"
        )
    if not filesystem.exists(idx):
        say(f"{idx} is missing: the index will be rebuilt by a scan of {recordio.REC_FILE}")
        return FEWEST_IDENTITIES
    with recordio.RecordReader(rec) as reader:
        index = recordio.read_whole_index(reader, idx)
        layout = recordio.read_layout(reader, index)
        if config.ingest.on_bad_record == "fail":
            last = layout.image_offsets.argmax()
            reader.read(int(layout.image_offsets[last]), key=int(layout.image_keys[last]))
    if layout.num_identities is None or config.ingest.min_images_per_identity > 1:
        return FEWEST_IDENTITIES
    return max(FEWEST_IDENTITIES, layout.num_identities)
