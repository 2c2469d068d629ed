"""The same bytes and figures from every Beam runner that runs on one host: nothing depends on one process or one order.

In one process; in several; by Beam's portable job service with its worker in this process; and by the same service with
a pool of worker processes that knows this one by network alone, as beside the nodes of a Flink or Spark cluster.
"""

import json

import pytest
from tfx import types
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from arcface_common.artifacts import VERIFICATION_FILE
from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from arcface_common.protocol.conditions import parse_all
from components.pair_example_gen.executor import PairExampleGenExecutor
from components.record_example_gen.executor import RecordExampleGenExecutor
from evaluator_custom.component import VerificationEvaluator
from evaluator_custom.executor import VerificationEvaluatorExecutor
from pipeline.beam import beam_args
from pipeline.create import schema_text
from serving import export
from tests.helpers import write_pairs, write_records
from tests.services import beam_service
from trainer_module import backbones

# A worker that never comes lets a job wait for ever.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SETS = ("lfw", "cfp_fp")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set of 60 images and 2 x 70 pairs, and an exported model."""
    folder = tmp_path_factory.mktemp("runners")
    write_records(folder / "data", [i // 5 for i in range(60)])
    for name in SETS:
        write_pairs(folder / "data", name, 70)
    io_utils.write_string_file(str(folder / "schema" / "schema.pbtxt"), schema_text("pairs"))
    metadata = ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {})
    backbone = backbones.build("iresnet_tiny", embedding_dim=16)
    export.export_saved_model(backbone, str(folder / "model" / "Format-Serving"), metadata)
    return folder


@pytest.fixture(scope="module")
def worker_pool(tmp_path_factory):
    """Port and log of a worker pool."""
    log = tmp_path_factory.mktemp("pool") / "log"
    with beam_service("apache_beam.runners.worker.worker_pool_main", "--service_port", log) as port:
        yield port, log


@pytest.fixture(scope="module")
def local(world):
    return _run_all(world, "local", beam_args("local"))


def _artifact(kind, uri):
    artifact = kind()
    artifact.uri = str(uri)
    artifact.id = 1
    return artifact


def _execute(executor_class, inputs, outputs, properties, args):
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(args))
    executor_class(context).Do(inputs, outputs, properties)


def _ingest(world, executor_class, out, files, options, args):
    examples = _artifact(standard_artifacts.Examples, out)
    properties = {
        "input_base": str(world / "data"),
        "input_config": json.dumps({"splits": [{"name": file, "pattern": file} for file in files]}),
        "options": json.dumps(options),
    }
    _execute(executor_class, {}, {"examples": [examples]}, properties, args)
    return examples


def _ingest_records(world, out, args):
    return _ingest(world, RecordExampleGenExecutor, out, ["train.rec", "train.idx"], {"shards": 3}, args)


def _evaluate(world, out, pairs, records, args):
    component = VerificationEvaluator(
        examples=types.Channel(type=standard_artifacts.Examples),
        model=types.Channel(type=standard_artifacts.Model),
        schema=types.Channel(type=standard_artifacts.Schema),
        sets=SETS,
        conditions=parse_all(["lfw.accuracy >= 0.5"]),
    )
    inputs = {
        "examples": [pairs],
        "model": [_artifact(standard_artifacts.Model, world / "model")],
        "schema": [_artifact(standard_artifacts.Schema, world / "schema")],
        "training_examples": [records],
    }
    outputs = {
        "evaluation": [_artifact(standard_artifacts.ModelEvaluation, out / "evaluation")],
        "blessing": [_artifact(standard_artifacts.ModelBlessing, out / "blessing")],
    }
    _execute(VerificationEvaluatorExecutor, inputs, outputs, component.exec_properties, args)
    return json.loads((out / "evaluation" / VERIFICATION_FILE).read_text())


def _run_all(world, name, args):
    """What the three Beam executors of ours make: path -> bytes of the Examples, and the evaluation's figures."""
    out = world / name
    records = _ingest_records(world, out / "records", args)
    pairs = _ingest(
        world, PairExampleGenExecutor, out / "pairs", [f"{name}.bin" for name in SETS], {"sets": SETS}, args
    )
    figures = _evaluate(world, out, pairs, records, args)
    return {**_files(out / "records"), **_files(out / "pairs")}, figures


def _files(folder):
    return {f"{folder.name}/{p.relative_to(folder)}": p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _assert_same(outcome, expected):
    files, figures = outcome
    expected_files, expected_figures = expected
    assert files.keys() == expected_files.keys()
    for name, content in files.items():
        assert content == expected_files[name], name
    assert figures == expected_figures


def test_one_process_writes_shards_and_figures(local):
    files, figures = local
    assert sum(name.endswith(".tfrecord") for name in files) == 3 + len(SETS)
    assert list(figures["sets"]) == list(SETS)
    assert figures["blessed"]


def test_several_processes(world, local, beam_forks):
    """The workers of other tests' runs in several processes, and those of the pool below, are started by Python."""
    _assert_same(_run_all(world, "processes", beam_args("processes", ["--direct_num_workers=2"])), local)
    assert len(beam_forks) >= 2 * 3  # two a job, at least
    assert {worker.wait() for worker in beam_forks} == {0}


def test_portable_runner_with_a_loopback_worker(world, local):
    _assert_same(_run_all(world, "loopback", beam_args("portable")), local)


def test_portable_runner_with_a_worker_pool(world, local, worker_pool):
    port, log = worker_pool
    external = ["--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]
    _assert_same(_run_all(world, "pool", beam_args("portable", external)), local)
    assert log.read_text().count("Starting worker") >= 3  # one a job, at least: the work was done over there


@pytest.mark.parametrize(("runner", "environment"), [("flink", "EXTERNAL"), ("spark", "LOOPBACK")])
def test_the_flink_and_spark_clients_submit_to_a_job_server(world, local, worker_pool, runner, environment, tmp_path):
    # The job server is Beam's Python one; Flink's and Spark's speak the same Job API, and ask for workers the same way.
    port, log = worker_pool
    started = log.read_text().count("Starting worker")
    given = [f"--environment_type={environment}"]
    given += [f"--environment_config=localhost:{port}"] if environment == "EXTERNAL" else []
    with beam_service("apache_beam.runners.portability.local_job_service_main", "--port", tmp_path / "log") as job_port:
        _ingest_records(
            world, tmp_path / "records", beam_args(runner, [f"--job_endpoint=localhost:{job_port}", *given])
        )
    expected = {name: content for name, content in local[0].items() if name.startswith("records/")}
    assert _files(tmp_path / "records") == expected
    assert (log.read_text().count("Starting worker") > started) == (environment == "EXTERNAL")
