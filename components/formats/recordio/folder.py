"""A data set's folder as InsightFace publishes it: where its images lie, and how many identities it says to have."""

import os
import re

from arcface_common import filesystem
from arcface_common.errors import DataError
from components.formats.recordio.coverage import read_whole_index
from components.formats.recordio.index import rebuild_index
from components.formats.recordio.layout import IDX_FILE, PROPERTY_FILE, REC_FILE, DatasetLayout, read_layout
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
        return read_layout(reader, read_whole_index(reader, idx))


def property_remarks(folder: str, identities: int, announced: int | None = None) -> tuple[str, ...]:
    """Says where `property`, "85742,112,112" say, differs from the images' labels.

    Args:
      folder: of the data set; a file that is missing or holds something else says nothing.
      identities: how many different labels all images have.
      announced: what the header record says. Of the same number in `property`, `label_remarks` has told.
    """
    path = os.path.join(folder, PROPERTY_FILE)
    if not (os.path.isfile(path) if filesystem.is_local(folder) else filesystem.exists(path)):
        return ()
    with filesystem.open_read(path) as file:
        found = re.match(rb"\s*(\d{1,12})\s*(,|$)", file.read(64))
    if not found or int(found[1]) in (identities, announced):
        return ()
    return (f"property says {int(found[1]):,} identities, and the images have {identities:,} labels",)
