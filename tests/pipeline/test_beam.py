"""Beam's options for each runner: refused in one line where one is missing, and taken by Beam's own parser."""

import pytest
import yaml
from click.testing import CliRunner

from arcface_common.errors import DataError
from pipeline.beam import RUNNERS, beam_args, check_with_beam
from pipeline.cli import main
from tests.helpers import write_pairs, write_records

GIVEN = {
    "local": [],
    "processes": [],
    "portable": [],
    "flink": ["--flink_master=flink:8081", "--flink_job_server_jar=/jars/flink.jar"],
    "spark": ["--spark_master_url=spark://spark:7077", "--spark_job_server_jar=/jars/spark.jar"],
    "dataflow": [
        "--project=faces-1",
        "--region=europe-west4",
        "--temp_location=gs://bucket/tmp",
        "--sdk_container_image=registry/arcface-beam:1",
    ],
}
for _runner in ("flink", "spark"):
    GIVEN[_runner].append("--environment_config=localhost:50000")
EVERY = pytest.mark.parametrize("runner", RUNNERS)


def _options(runner):
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(list(beam_args(runner, GIVEN[runner])))


@EVERY
def test_beam_takes_every_set_and_tfx_packs_no_sdist_for_it(runner, caplog):
    args = beam_args(runner, GIVEN[runner])
    check_with_beam(args, here=False)
    options = _options(runner).get_all_options(display_warnings=True)  # warns of what it doesn't know
    assert not caplog.records
    for arg in args:
        name, _, value = arg.removeprefix("--").partition("=")
        assert str(options[name]) == value
    # What TFX's make_beam_dependency_flags looks for.
    assert options["sdk_container_image"]


@EVERY
def test_each_required_option_is_asked_for_by_name(runner):
    for name in RUNNERS[runner].required:
        given = [arg for arg in GIVEN[runner] if not arg.startswith(f"--{name}=")]
        with pytest.raises(DataError, match=rf"beam_runner={runner}: expected beam_args=--{name}=.* Received: "):
            beam_args(runner, given)
        with pytest.raises(DataError, match=f"--{name}="):
            beam_args(runner, [*given, f"--{name}="])


def test_a_running_job_server_and_a_loopback_worker_need_no_more():
    args = beam_args("flink", ["--job_endpoint=localhost:8099", "--environment_type=LOOPBACK"])
    assert "--environment_type=EXTERNAL" not in args
    check_with_beam(args, here=True)


def test_a_given_option_replaces_its_namesake_and_may_be_repeated():
    args = beam_args("processes", ["--direct_num_workers=4", "--experiments=a", "--experiments=b"])
    assert [arg for arg in args if arg.startswith("--direct_num_workers")] == ["--direct_num_workers=4"]
    assert args[-2:] == ("--experiments=a", "--experiments=b")


@pytest.mark.parametrize(
    ("runner", "given", "message"),
    [
        ("local", ["direct_num_workers=2"], "expected --NAME=VALUE.* Received: direct_num_workers=2"),
        ("local", ["--runner=FlinkRunner"], "which beam_runner names"),
        ("local", ["--s3_secret_access_key=hush"], "expected the variable AWS_SECRET_ACCESS_KEY.*key$"),
        ("nowhere", [], "expected one of local, processes.* Received: nowhere"),
    ],
)
def test_what_is_refused_at_once(runner, given, message):
    with pytest.raises(DataError, match=message):
        beam_args(runner, given)


@pytest.mark.parametrize(
    ("runner", "given", "message"),
    [
        ("local", ["--direct_num_workerz=2"], "expected an option of FnApiRunner. Received: --direct_num_workerz"),
        ("processes", ["--direct_num_workers=many"], "argument --direct_num_workers: invalid int value: 'many'"),
        ("dataflow", ["--temp_location=s3://bucket/tmp"], "Invalid GCS path .*temp_location"),
        ("dataflow", ["--project=123"], "not project number"),
        ("portable", ["--environment_type=EXTERNAL"], "external_service_address is required"),
        ("flink", ["--flink_version=0.1"], "argument --flink_version: invalid choice: '0.1'"),
        ("spark", [], "/jars/spark.jar: expected Beam's job server. Received: no such file"),
    ],
)
def test_what_beam_refuses(runner, given, message):
    names = {arg.partition("=")[0] for arg in given}
    kept = [arg for arg in GIVEN[runner] if arg.partition("=")[0] not in names]
    with pytest.raises(DataError, match=message):
        check_with_beam(beam_args(runner, [*kept, *given]), here=True)


def test_a_job_servers_own_options_pass():
    check_with_beam(beam_args("flink", [*GIVEN["flink"], "--checkpointing_interval=60000"]), here=False)


def test_flink_and_spark_start_the_given_jar_and_download_nothing(tmp_path):
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions
    from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
    from apache_beam.runners.portability.spark_runner import SparkJarJobServer

    jar = tmp_path / "server.jar"
    jar.touch()
    for runner, server, flag, address in (
        ("flink", FlinkJarJobServer, "--flink-master", "http://flink:8081"),
        ("spark", SparkJarJobServer, "--spark-master-url", "spark://spark:7077"),
    ):
        given = [f"--{runner}_job_server_jar={jar}" if "_jar=" in arg else arg for arg in GIVEN[runner]]
        options = PipelineOptions(list(beam_args(runner, given)))
        flink = options.view_as(FlinkRunnerOptions)
        flink.flink_master = FlinkRunner.add_http_scheme(flink.flink_master)  # as default_job_server does
        command, _ = server(options).subprocess_cmd_and_endpoint()
        assert command[0] == "java"
        assert command[command.index("-jar") + 1] == str(jar)
        assert command[command.index(flag) + 1] == address


@pytest.mark.parametrize("runner", ["flink", "spark", "dataflow"])
def test_the_job_that_is_submitted_names_our_workers(runner):
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PortableOptions
    from apache_beam.portability.api import beam_runner_api_pb2
    from apache_beam.runners.dataflow.internal import apiclient
    from apache_beam.runners.portability.portable_runner import PortableRunner
    from apache_beam.transforms import environments

    options = _options(runner)
    # Without the options, of which a pipeline has Dataflow's bucket looked up at once.
    job = beam.Pipeline(runner="FnApiRunner")
    job | beam.Create([1]) | beam.Map(str)  # noqa: B018 - builds the graph
    if runner == "dataflow":
        image = apiclient.get_container_image_from_options(options)
        proto = job.to_runner_api(default_environment=environments.DockerEnvironment.from_container_image(image))
    else:
        proto = PortableRunner.get_proto_pipeline(job, options.view_as(PortableOptions))
    (environment,) = proto.components.environments.values()
    if runner == "dataflow":
        assert environment.urn == "beam:env:docker:v1"
        payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        assert payload.container_image == "registry/arcface-beam:1"
    else:
        assert environment.urn == "beam:env:external:v1"
        pool = beam_runner_api_pb2.ExternalPayload.FromString(environment.payload)
        assert pool.endpoint.url == "localhost:50000"
    assert not environment.dependencies


BEAM_NODES = {"RecordExampleGen", "PairExampleGen", "StatisticsGen", "Transform", "VerificationEvaluator"}


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["flink", "spark", "dataflow"])
def test_the_compiled_pipeline_carries_them_in_each_beam_step(runner, tmp_path):
    output = tmp_path / "pipeline.yaml"
    given = [f"--beam-arg={arg}" for arg in GIVEN[runner]]
    command = [
        "compile",
        "--output",
        str(output),
        "--data",
        "gs://bucket/data",
        "--root",
        "gs://bucket/runs",
        "--preset",
        "r50",
    ]
    result = CliRunner().invoke(main, [*command, "--image", "registry/arcface:1", "--beam-runner", runner, *given])
    assert result.exit_code == 0, result.output
    spec = next(iter(yaml.safe_load_all(output.read_text())))
    for node in BEAM_NODES:
        container = spec["deploymentSpec"]["executors"][f"{node}_executor"]["container"]
        for arg in beam_args(runner, GIVEN[runner]):
            assert arg in container["args"], node


def test_the_command_line_refuses_before_anything_starts(tmp_path):
    write_records(tmp_path / "data", [0, 0, 1])
    write_pairs(tmp_path / "data", "lfw", 10)
    command = [
        "run",
        "--data",
        str(tmp_path / "data"),
        "--root",
        str(tmp_path / "root"),
        "--beam-runner",
        "flink",
        "--preset",
        "r50",
    ]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "--beam-runner flink: expected --beam-arg=--flink_master=" in result.output
    assert not (tmp_path / "root").exists()
