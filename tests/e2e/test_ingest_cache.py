"""RecordExampleGen under LocalDagRunner: what is a cache hit goes by content, not by place and time."""

import os
import shutil

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from components.formats.recordio import RecordReader, read_index
from components.record_example_gen.component import RecordExampleGen
from tests.helpers import write_records

pytestmark = pytest.mark.e2e

CACHED, COMPLETE = metadata_store_pb2.Execution.CACHED, metadata_store_pb2.Execution.COMPLETE


def _run(data, root):
    """Runs the node; returns the state of the new execution, and the artifact's digest."""
    connection = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
    LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="ingest",
            pipeline_root=str(root / "pipeline"),
            components=[RecordExampleGen(str(data), work=str(root / "ingest"))],
            enable_cache=True,
            metadata_connection_config=connection,
            beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=unused"],
        )
    )
    with metadata.Metadata(connection) as handle:
        execution = max(handle.store.get_executions(), key=lambda e: e.id)
        artifact = max(handle.store.get_artifacts_by_type("Examples"), key=lambda a: a.id)
    return execution.last_known_state, artifact.custom_properties["content_digest"].string_value


def test_a_copy_is_a_hit_and_an_edit_within_the_second_is_not(tmp_path):
    data, root = tmp_path / "data", tmp_path / "root"
    root.mkdir()
    write_records(data, [i // 5 for i in range(40)])
    assert _run(data, root)[0] == COMPLETE
    os.utime(data / "train.rec")
    assert _run(data, root)[0] == CACHED
    shutil.copytree(data, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    shutil.rmtree(data)
    state, digest = _run(tmp_path / "elsewhere", root)
    assert state == CACHED

    rec = tmp_path / "elsewhere" / "train.rec"
    offset = int(read_index(str(tmp_path / "elsewhere" / "train.idx")).offsets[10])
    with RecordReader(rec) as reader:
        image = reader.read(offset).payload
    stat = os.stat(rec)
    with open(rec, "r+b") as file:
        file.seek(offset + 32 + len(image) - 10)  # within the image's scan
        file.write(bytes([image[-10] ^ 1]))
    os.utime(rec, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    state, other = _run(tmp_path / "elsewhere", root)
    assert state == COMPLETE
    assert other != digest
