"""MXNet RecordIO and InsightFace's layout of it, read and written without MXNet (numpy and the standard library only).

`records` is the `.rec` format, `index` the `.idx` beside it, `coverage` whether that names all images, `layout` what
InsightFace's keys mean, `folder` where all lie, `label_remarks` how that and the labels differ. Files may lie on any
file system that `arcface_common.filesystem` knows.
"""

from components.formats.recordio.coverage import (
    image_at,
    is_without_image,
    read_whole_index,
    unnamed_bytes,
    unnamed_remarks,
)
from components.formats.recordio.folder import property_remarks, read_dataset, rec_path
from components.formats.recordio.index import Index, read_index, rebuild_index, write_index
from components.formats.recordio.label_remarks import label_remarks
from components.formats.recordio.layout import IDX_FILE, REC_FILE, DatasetLayout, read_layout, write_layout
from components.formats.recordio.records import (
    FLOAT32_EXACT,
    MAGIC,
    MAX_RECORD_BYTES,
    Record,
    RecordError,
    RecordReader,
    RecordWriter,
    pack,
    unpack,
)

__all__ = [
    "FLOAT32_EXACT",
    "IDX_FILE",
    "MAGIC",
    "MAX_RECORD_BYTES",
    "REC_FILE",
    "DatasetLayout",
    "Index",
    "Record",
    "RecordError",
    "RecordReader",
    "RecordWriter",
    "image_at",
    "is_without_image",
    "label_remarks",
    "pack",
    "property_remarks",
    "read_dataset",
    "read_index",
    "read_layout",
    "read_whole_index",
    "rebuild_index",
    "rec_path",
    "unnamed_bytes",
    "unnamed_remarks",
    "unpack",
    "write_index",
    "write_layout",
]
