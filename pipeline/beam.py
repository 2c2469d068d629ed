"""Where the Beam work of a pipeline runs: named sets of Beam's options, for `--beam-runner` and `--beam-arg`.

The standard library alone, so that a missing option is answered at once; `check_with_beam` has Beam read the result.
"""

import contextlib
import dataclasses
import io
import os
from collections.abc import Sequence

from arcface_common.errors import DataError, argument
from pipeline.checks.secrets import refuse_secret_option

# For every Beam node whose options don't name an image, TFX copies itself to the temporary directory, 52 MB that stay,
# and packs an sdist, 1.8 s. In-process workers, and those of a pool with this project installed, need neither and never
# look at the image.
_NO_SDIST = "--sdk_container_image=unused"


@dataclasses.dataclass(frozen=True)
class BeamRunner:
    """A named set of Beam's options.

    Attributes:
      about: where the work runs.
      args: the options; one that is given by hand replaces its namesake.
      required: option -> what it must be given as.
      job_server: the required options of a job server that Beam starts; with `--job_endpoint` one runs already. A job
        server also has options of its own, which Beam's Python parser doesn't know.
    """

    about: str
    args: tuple[str, ...]
    required: dict[str, str] = dataclasses.field(default_factory=dict)
    job_server: tuple[str, ...] = ()


_WORKERS = "HOST:PORT of a worker pool, as each of the cluster's nodes reaches it, e.g. localhost:50000"
_PORTABLE = ("--environment_type=EXTERNAL", _NO_SDIST)
# Without it each stage of a Spark job starts Python workers of its own, 2 to 6 s of CPU each, and an evaluation has 40
# stages. Not on Flink: there a worker that outlives its job is ended by its number, which one of the next job has, too.
_KEEP_WORKERS = "--environment_cache_millis=60000"

RUNNERS: dict[str, BeamRunner] = {
    # Named, since Beam's default first tries to download another runner.
    "local": BeamRunner("this process", ("--runner=FnApiRunner", _NO_SDIST)),
    "processes": BeamRunner(
        "a process for each core of this host",
        ("--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=0", _NO_SDIST),
    ),
    "portable": BeamRunner(
        "Beam's own portable job service, on this host",
        ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK", _NO_SDIST),
    ),
    "flink": BeamRunner(
        "a Flink cluster",
        ("--runner=FlinkRunner", *_PORTABLE),
        {
            "flink_master": "HOST:PORT of Flink's REST API",
            "flink_job_server_jar": "path of Beam's job server for this Flink (or --job_endpoint of one that runs)",
            "environment_config": _WORKERS,
        },
        job_server=("flink_master", "flink_job_server_jar"),
    ),
    "spark": BeamRunner(
        "a Spark cluster",
        ("--runner=SparkRunner", *_PORTABLE, _KEEP_WORKERS),
        {
            "spark_master_url": "spark://HOST:PORT",
            "spark_job_server_jar": "path of Beam's job server for Spark 3 (or --job_endpoint of one that runs)",
            "environment_config": _WORKERS,
        },
        job_server=("spark_master_url", "spark_job_server_jar"),
    ),
    "dataflow": BeamRunner(
        "Google Cloud Dataflow",
        ("--runner=DataflowRunner",),
        {
            "project": "the Google Cloud project",
            "region": "a region, e.g. europe-west4",
            "temp_location": "gs://BUCKET/FOLDER",
            "sdk_container_image": "an image with this project and Beam's boot program",
        },
    ),
}


def _beam_arg() -> str:
    """The argument that takes Beam's options: one at a time of a command, all in Python."""
    return argument("beam_arg").replace("beam_arg", "beam_args")


def beam_args(runner: str = "local", given: Sequence[str] = ()) -> tuple[str, ...]:
    """Beam's options for a runner.

    The result is part of each Beam node's cache key, so it depends on nothing else than the arguments.

    Args:
      runner: a name in RUNNERS.
      given: options by hand, `--NAME=VALUE` or `--NAME` each; one may be given several times where Beam takes several.

    Returns:
      The runner's options without those that are given, then the given ones.

    Raises:
      DataError: an unknown runner, an option in another form, one that must be given and isn't, or a secret.
    """
    if runner not in RUNNERS:
        raise DataError(f"{argument('beam_runner')}: expected one of {', '.join(RUNNERS)}. Received: {runner}")
    chosen = RUNNERS[runner]
    for arg in given:  # before any error that shows them
        refuse_secret_option(_beam_arg(), _name(arg), arg.partition("=")[2])
    for arg in given:
        if not arg.startswith("--") or not _name(arg):
            raise DataError(f"{_beam_arg()}: expected --NAME=VALUE, e.g. --parallelism=8. Received: {arg}")
        if _name(arg) == "runner":
            raise DataError(
                f"{_beam_arg()}: expected no runner, which {argument('beam_runner')} names. Received: {arg}"
            )
    names = {_name(arg) for arg in given}
    args = (*(arg for arg in chosen.args if _name(arg) not in names), *given)
    needless = chosen.job_server if "job_endpoint" in names else ()
    if "--environment_type=LOOPBACK" in args:
        needless = (*needless, "environment_config")
    for name in chosen.required:
        if name not in needless and not _value(args, name):
            raise DataError(
                f"{argument('beam_runner', runner)}: expected {_beam_arg()}=--{name}=…, {chosen.required[name]}. "
                f"Received: {' '.join(given) or f'no {_beam_arg()}'}"
            )
    return args


def check_with_beam(args: Sequence[str], *, here: bool) -> None:
    """Has Beam parse and validate the options, before any node runs. Imports Beam, 3 s.

    Args:
      args: what `beam_args` gave.
      here: the pipeline runs on this machine, so that the files that options name must be on it.

    Raises:
      DataError: an option that Beam doesn't know, a value that it refuses, or a job server's jar that isn't there.
    """
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
    from apache_beam.runners.runner import create_runner

    options = PipelineOptions(list(args))
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed = options.get_all_options(retain_unknown_options=True)
    except SystemExit as error:  # argparse's, after a page of usage
        reason = complaint.getvalue().rpartition("error: ")[2].strip()
        raise DataError(f"{_beam_arg()}: expected a value that Beam takes. Received: {reason}") from error
    runner = parsed["runner"]
    unknown = sorted(parsed.keys() - PipelineOptions([]).get_all_options().keys())
    if unknown and not any(f"--runner={runner}" in known.args and known.job_server for known in RUNNERS.values()):
        raise DataError(f"{_beam_arg()}: expected an option of {runner}. Received: --{', --'.join(unknown)}")
    validator = PipelineOptionsValidator(options, create_runner(runner))
    if runner == "DataflowRunner":
        # All of `validate` would ask Google Cloud for the bucket, and make one where it likes none.
        cloud = options.view_as(GoogleCloudOptions)
        errors = validator.validate_cloud_options(cloud) + validator.validate_gcs_path(cloud, "temp_location")
    else:
        errors = validator.validate()
    if errors:
        raise DataError(f"{_beam_arg()}: expected options that Beam takes together. Received: {' '.join(errors)}")
    jar = _value(args, "flink_job_server_jar") or _value(args, "spark_job_server_jar")
    if here and jar and "://" not in jar and not os.path.exists(jar):
        raise DataError(f"{jar}: expected Beam's job server. Received: no such file")


def _name(arg: str) -> str:
    return arg.removeprefix("--").partition("=")[0]


def _value(args: Sequence[str], name: str) -> str:
    """The last value given to an option; "" if there is none."""
    return next((arg.partition("=")[2] for arg in reversed(args) if _name(arg) == name), "")
