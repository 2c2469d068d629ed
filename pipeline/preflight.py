"""What can be said about a data set's folder in a moment, before TFX is imported (16 s)."""

import dataclasses
import os

from components import recordio
from pipeline.config import PipelineConfig
from trainer_module.console import say
from trainer_module.errors import DataError


def check_dataset(config: PipelineConfig) -> PipelineConfig:
    """Checks that the folder holds a readable data set, and leaves out the verification sets that it lacks.

    Args:
      config: with the folder as `data`.

    Returns:
      The configuration with the sets that are there.

    Raises:
      DataError: no such folder, no `train.rec`, a broken one, or no verification set that the model could be judged by.
    """
    if not os.path.isdir(config.data):
        raise DataError(f"{config.data}: expected a folder as InsightFace publishes it. Received: no such folder")
    _check_records(config.data)
    evaluation = config.evaluation
    there = tuple(name for name in evaluation.sets if os.path.exists(os.path.join(config.data, f"{name}.bin")))
    for name in evaluation.sets:
        if name not in there:
            say(f"{name}.bin is not in {config.data}: skipped")
    bounds = {name: bound for name, bound in evaluation.min_accuracy.items() if name in there}
    if not bounds:
        raise DataError(
            f"{config.data}: expected one of {', '.join(f'{name}.bin' for name in evaluation.min_accuracy)}, which the "
            f"model is judged by (evaluation.min_accuracy). Received: {', '.join(there) or 'none'}"
        )
    return dataclasses.replace(config, evaluation=dataclasses.replace(evaluation, sets=there, min_accuracy=bounds))


def _check_records(folder: str) -> None:
    """Reads the index, the header and the identity records; the images are left to RecordExampleGen."""
    rec, idx = os.path.join(folder, recordio.REC_FILE), os.path.join(folder, recordio.IDX_FILE)
    if not os.path.exists(rec):
        raise DataError(f"{rec}: expected a RecordIO file as InsightFace publishes it. Received: no such file")
    if not os.path.exists(idx):
        say(f"{idx} is missing: the index will be rebuilt by a scan of {recordio.REC_FILE}")
        return
    with recordio.RecordReader(rec) as reader:
        layout = recordio.read_layout(reader, recordio.read_index(idx))
        last = layout.image_offsets.argmax()
        reader.read(int(layout.image_offsets[last]), key=int(layout.image_keys[last]))
