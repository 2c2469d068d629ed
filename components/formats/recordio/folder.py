"""A data set's folder as InsightFace publishes it: where its images lie."""

import os

from arcface_common import filesystem
from arcface_common.errors import DataError
from components.formats.recordio.index import read_index, rebuild_index
from components.formats.recordio.layout import IDX_FILE, REC_FILE, DatasetLayout, read_layout
from components.formats.recordio.records import RecordReader


def rec_path(folder: str) -> str:
    """The `.rec` file of a data set's folder.

    Raises:
      DataError: there is none.
    """
    rec = os.path.join(folder, REC_FILE)
    if not filesystem.exists(rec):
        raise DataError(f"{rec}: expected a RecordIO file as InsightFace publishes it. Received: no such file")
    return rec


def read_dataset(folder: str) -> DatasetLayout:
    """Which records of a data set's folder are images.

    Without `train.idx`, the index is rebuilt by one scan of `train.rec`.

    Raises:
      DataError: a file is missing, or is not what its format says.
    """
    rec, idx = rec_path(folder), os.path.join(folder, IDX_FILE)
    with RecordReader(rec) as reader:
        if not filesystem.exists(idx):
            return read_layout(reader, rebuild_index(reader))
        return read_layout(reader, read_index(idx, rec_bytes=filesystem.size(rec)))
