"""s3:// from end to end: both ExampleGens read from an S3 server and write to it what they write locally."""

import concurrent.futures
import json

import pytest
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from arcface_common import filesystem
from arcface_common.errors import DataError
from arcface_common.ranges import open_ranges
from components.formats import recordio
from components.pair_example_gen.executor import PairExampleGenExecutor
from components.record_example_gen import stores
from components.record_example_gen.executor import RecordExampleGenExecutor
from pipeline.beam import beam_args
from pipeline.config import PipelineConfig
from pipeline.preflight import check_dataset
from tests.components.ingests import ingested
from tests.helpers import write_pairs, write_records

pytestmark = pytest.mark.slow
RECORD_OPTIONS = {"shards": 2}
SETS = ["lfw", "cfp_fp"]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A data set, and what both ExampleGens make of it on the local file system: path below `out` -> bytes."""
    folder = tmp_path_factory.mktemp("local")
    write_records(folder / "data", [i // 5 for i in range(40)])
    for name in SETS:
        write_pairs(folder / "data", name, 10)
    _ingest(str(folder / "data"), str(folder / "out"))
    written = {str(path.relative_to(folder / "out")): path.read_bytes() for path in (folder / "out").rglob("*.*")}
    return folder / "data", written


def _objects(s3, bucket, prefix=""):
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def _upload(s3, bucket, folder):
    for path in folder.iterdir():
        s3.upload_file(str(path), bucket, f"data/{path.name}")


def _run(executor_class, data, out, options, files, runner):
    examples = standard_artifacts.Examples()
    examples.uri = out
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args(runner)))
    properties = {
        "input_base": data,
        "input_config": json.dumps({"splits": [{"name": name, "pattern": name} for name in files]}),
        "options": json.dumps(options),
    }
    executor_class(context).Do({}, {"examples": [examples]}, properties)


def _ingest_records(data, out, runner="local"):
    _run(RecordExampleGenExecutor, data, f"{out}/records", RECORD_OPTIONS, ["train.rec", "train.idx"], runner)


def _ingest(data, out):
    _ingest_records(data, out)
    _run(PairExampleGenExecutor, data, f"{out}/pairs", {"sets": SETS}, [f"{name}.bin" for name in SETS], "local")


def _written(s3, bucket):
    return {
        key.removeprefix("out/"): s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        for key in _objects(s3, bucket, "out/")
    }


def test_the_same_bytes_as_on_the_local_file_system(s3, bucket, local):
    data, expected = local
    _upload(s3, bucket, data)
    _ingest(f"s3://{bucket}/data", f"s3://{bucket}/out")
    written = _written(s3, bucket)
    assert {name for name in written if name.endswith(".tfrecord")} == {
        "records/Split-train/data-00000-of-00002.tfrecord",
        "records/Split-train/data-00001-of-00002.tfrecord",
        "pairs/Split-lfw/data-00000-of-00001.tfrecord",
        "pairs/Split-cfp_fp/data-00000-of-00001.tfrecord",
    }
    assert written == expected  # and nothing else: no plan, no unfinished file


def test_the_same_bytes_from_several_processes(s3, bucket, local):
    data, expected = local
    _upload(s3, bucket, data)
    _ingest_records(f"s3://{bucket}/data", f"s3://{bucket}/out", "processes")
    assert _written(s3, bucket) == {name: content for name, content in expected.items() if name.startswith("records/")}


def test_shards_in_the_bucket_become_a_local_output(s3, bucket, local, tmp_path):
    """As on Kubeflow: shards below a root that is a bucket, the output in the launcher's folder."""
    data, expected = local
    ingested(data, tmp_path / "records", work=f"s3://{bucket}/work", **RECORD_OPTIONS)
    written = {str(path.relative_to(tmp_path)): path.read_bytes() for path in (tmp_path / "records").rglob("*.*")}
    assert written == {name: content for name, content in expected.items() if name.startswith("records/")}
    assert _objects(s3, bucket) == []


def test_a_damaged_records_error_names_its_place_in_the_bucket_and_no_shard_stays(s3, bucket, local):
    data, _ = local
    _upload(s3, bucket, data)
    with recordio.RecordReader(str(data / "train.rec")) as reader:
        layout = recordio.read_layout(reader, recordio.read_index(str(data / "train.idx")))
    offset = int(layout.image_offsets[16])
    content = bytearray((data / "train.rec").read_bytes())
    content[offset : offset + 4] = bytes(4)
    s3.put_object(Bucket=bucket, Key="data/train.rec", Body=bytes(content))
    with pytest.raises(DataError, match=rf"s3://{bucket}/data/train\.rec, key 17, byte offset {offset}: expected a"):
        _ingest_records(f"s3://{bucket}/data", f"s3://{bucket}/out")
    assert _objects(s3, bucket, "out/records/Split") == []
    assert not [key for key in _objects(s3, bucket, "out/") if "unfinished" in key]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_run_looks_at_the_bucket_first(s3, bucket, local):
    config = PipelineConfig(f"s3://{bucket}/data", "root")
    with pytest.raises(DataError, match=rf"s3://{bucket}/data/train\.rec: expected .* Received: no such file"):
        check_dataset(config)
    _upload(s3, bucket, local[0])
    assert check_dataset(config).evaluation.evaluated_sets == tuple(SETS)
    s3.put_object(Bucket=bucket, Key="data/train.rec", Body=b"not a RecordIO file" * 100)
    with pytest.raises(DataError, match=rf"s3://{bucket}/data/train\.rec, key 0, byte offset 0: expected a record"):
        check_dataset(config)


def test_small_reads_at_random_places(s3, bucket):
    content = bytes(range(256)) * 1000
    s3.put_object(Bucket=bucket, Key="file", Body=content)
    places = [(offset, 100) for offset in range(0, len(content), 9973)] + [(len(content) - 7, 100), (len(content), 100)]
    with open_ranges(f"s3://{bucket}/file", 4) as read, concurrent.futures.ThreadPoolExecutor(4) as pool:
        for (offset, length), found in zip(places, pool.map(lambda place: read(*place), places), strict=True):
            assert found == content[offset : offset + length]
    with (
        open_ranges(f"s3://{bucket}/none", 4) as read,
        pytest.raises(OSError, match=f"s3://{bucket}/none, byte offset 3"),
    ):
        read(3, 1)


def test_what_is_missing_is_named(s3, bucket):
    for executor_class, options, file in (
        (RecordExampleGenExecutor, RECORD_OPTIONS, "train.rec"),
        (PairExampleGenExecutor, {"sets": ["lfw"]}, "lfw.bin"),
    ):
        with pytest.raises(DataError, match=rf"s3://{bucket}/none/{file}: expected a .* Received: no such file"):
            _run(executor_class, f"s3://{bucket}/none", f"s3://{bucket}/out", options, [file], "local")
    assert _objects(s3, bucket) == []


def test_files_are_whole_or_absent(s3, bucket):
    path, aside = f"s3://{bucket}/folder/file", f"s3://{bucket}/aside"
    with pytest.raises(KeyError), filesystem.write_aside(path, aside) as file:
        file.write(b"half")
        raise KeyError
    assert _objects(s3, bucket) == []
    filesystem.write_file(path, b"half of it", aside)
    filesystem.write_file(path, b"0123456789", aside)
    assert _objects(s3, bucket) == ["folder/file"]
    assert filesystem.exists(path)
    assert not filesystem.exists(f"s3://{bucket}/folder")
    assert filesystem.size(path) == 10
    with filesystem.open_read(path) as opened:
        opened.seek(4)
        assert opened.read(3) == b"456"
    filesystem.link(path, f"s3://{bucket}/folder/second")
    assert filesystem.files_below(f"s3://{bucket}/folder") == [path, f"s3://{bucket}/folder/second"]
    with pytest.raises(FileNotFoundError):
        filesystem.open_read(f"s3://{bucket}/folder/none")
    filesystem.remove([path, f"s3://{bucket}/folder/none"])
    filesystem.remove_folder(f"s3://{bucket}/folder")
    assert _objects(s3, bucket) == []


def test_shards_of_tries_are_apart_and_go_after_a_week(s3, bucket, monkeypatch):
    work = f"s3://{bucket}/work"
    for out in ("one", "one", "two"):
        with pytest.raises(KeyError), stores.held_store(work, f"s3://{bucket}/{out}", "ingest-1") as store:
            filesystem.write_file(f"{store.folder}/shard", b"1", store.aside)
            raise KeyError
    filesystem.write_file(f"{work}/digests", b"1", f"{work}/aside")
    assert len([key for key in _objects(s3, bucket) if key.endswith("shard")]) == 2
    monkeypatch.setattr(stores, "_REMOTE_SECONDS", -60.0)
    with stores.held_store(work, f"s3://{bucket}/three", "ingest-1"):
        pass
    assert _objects(s3, bucket) == ["work/digests"]
