"""The commands about a cluster: `compile`, `runs follow`, and what `run --engine kubeflow` does."""

import dataclasses
import functools
import os
import re
import shlex
import signal
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import click

from arcface_common.console import say, waiting
from arcface_common.errors import DataError
from arcface_common.processes import sigterm_unwinds
from pipeline.beam import beam_args, check_with_beam
from pipeline.checks.secrets import refuse_secret_path
from pipeline.cli.echo import echo_json
from pipeline.cli.hints import own_command
from pipeline.cli.paths import InputFile, OneOf, OutputFile
from pipeline.cli.pipeline_option import pipeline_options
from pipeline.cli.quiet import quiet

if TYPE_CHECKING:  # they read the settings, 0.3 s
    from pipeline.config import PipelineConfig
    from pipeline.config_file import ConfigFile
    from pipeline.runners.kubeflow import Platform
    from pipeline.runners.kubeflow_api import Kubeflow, Step
    from pipeline.runners.kubeflow_client import Server


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where Kubeflow Pipelines is; they become one argument `server`, None without `--host`."""

    @functools.wraps(command)
    def with_server(*, host: str | None, **given: Any) -> None:
        others = {name: given.pop(name) for name in ("namespace", "token_file", "ca_cert")}
        for name, value in others.items():
            if host is None and value is not None:
                raise DataError(f"--{name.replace('_', '-')}: expected --host, which it goes with. Received: none")
        command(server=None if host is None else _server(host, others), **given)

    decorated: Callable[..., Any] = with_server
    for option in (
        click.option("--ca-cert", type=InputFile(), help="Trust this authority (PEM) for https://."),
        click.option(
            "--token-file", type=InputFile(), help="Send the bearer token in this file, which is read for each request."
        ),
        click.option("--namespace", help="Name the user's namespace, where a cluster has several."),
        click.option("--host", metavar="URL", help="Ask Kubeflow Pipelines here, e.g. http://localhost:8888."),
    ):
        decorated = option(decorated)
    return decorated


def _server(host: str, others: dict[str, str | None]) -> "Server":
    """Where the API is.

    Raises:
      DataError: the host is no URL, or has a password, a query or a fragment in it.
    """
    from pipeline.runners.kubeflow_client import Server

    refuse_secret_path("--host", host)
    if "?" in host or "#" in host:  # a query may be a secret
        raise DataError(f"--host: expected a URL without ? and #. Received: {re.split('[?#]', host)[0]!r} and more")
    try:
        parts = urlsplit(host)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and host.isprintable()
    except ValueError:
        is_url = False
    if not is_url or " " in host:
        raise DataError(f"--host: expected http://HOST:PORT or https://HOST. Received: {host!r}")
    return Server(host, **{name: value or "" for name, value in others.items()})


@click.command(
    "compile", epilog="Example: arcface-tfx compile --data gs://b/ms1m --root gs://b/runs --image repo/arcface"
)
@click.option(
    "--output",
    required=True,
    type=OutputFile([".yaml", ".yml", ".json"]),
    help="Write the pipeline to this file: YAML for Kubeflow, JSON for Vertex.",
)
@click.option(
    "--for",
    "platform",
    type=OneOf(["kubeflow", "vertex"]),
    default="kubeflow",
    show_default=True,
    help="Compile for the open Kubeflow Pipelines, or for Google's Vertex AI Pipelines.",
)
@click.option("--root", required=True, help="Name the folder of results as the pods see it.")
@click.option("--image", required=True, help="Name the container image that holds this project (see the Dockerfile).")
@click.option(
    "--trainer",
    type=OneOf(["step", "trainjob", "tfjob"]),
    default="step",
    show_default=True,
    help="Train in the Trainer's own pod, or by train.workers pods more: of a TrainJob of Kubeflow Trainer v2, or of "
    "the TFJob that came before it (legacy). Both need --root on a volume of kubeflow.volumes.",
)
@pipeline_options
def compile_(
    output: str,
    platform: "Platform",
    data: str,
    root: str,
    image: str,
    trainer: Literal["step", "trainjob", "tfjob"],
    **asked: Any,
) -> None:
    """Compile the same pipeline for Kubeflow Pipelines or Vertex AI Pipelines (spec 2.1)."""
    from pipeline.checks.places import check_vertex_places

    if output.lower().endswith(".json") != (platform == "vertex"):
        kind = ".json, which Vertex takes" if platform == "vertex" else ".yaml or .yml; JSON is for --for vertex"
        raise DataError(f"--output: {output}: expected a name that ends in {kind}. Received: {output!r}")
    if platform == "vertex":
        check_vertex_places(data, root)
    config = _config_of_pods(data, root, image, **asked)
    if platform == "vertex":
        config.kubeflow.refuse_on_vertex()
    job = None
    if trainer != "step":
        from pipeline.runners.cluster_jobs import ClusterJob

        if platform == "vertex":
            raise DataError(f"--trainer: expected step with --for vertex. Received: {trainer!r}")
        job = ClusterJob(trainer, image, config.kubeflow)
        job.check(config)
    with quiet():
        with waiting("loading TFX"):
            from pipeline.runners.kubeflow import compile_pipeline

        written = compile_pipeline(config, image, output, platform, job)
    for path in written:
        click.echo(f"{path}: written")


def _config_of_pods(
    data: str,
    root: str,
    image: str,
    *,
    preset: str | None,
    overrides: tuple[str, ...],
    file: "ConfigFile | None",
    beam_runner: str,
    beam_given: tuple[str, ...],
) -> "PipelineConfig":
    """The configuration of a pipeline whose steps are pods, checked as far as that goes from here."""
    from pipeline.checks.backbone import check_backbone
    from pipeline.checks.places import check_image
    from pipeline.config import make_config

    check_image(image)
    config = make_config(data, root, preset, overrides, here=False, file=file)
    check_backbone(config.train, here=False)
    config = dataclasses.replace(config, beam_args=beam_args(beam_runner, beam_given))
    check_with_beam(config.beam_args, here=False)
    return config


def run_on_cluster(
    data: str, root: str | None, image: str | None, server: "Server | None", as_json: bool, **asked: Any
) -> None:
    """Submits the pipeline, and follows the run until it ends.

    Raises:
      DataError: the server isn't Kubeflow Pipelines, or doesn't take the pipeline.
    """
    for name, value in (("host", server), ("image", image), ("root", root)):
        if not value:
            raise click.UsageError(f"Missing option '--{name}', which --engine kubeflow needs.")
    assert root and image and server
    config = _config_of_pods(data, root, image, **asked)
    with quiet():
        with waiting(f"asking {server.host}"):
            from pipeline.runners.kubeflow_api import Kubeflow

            kubeflow = Kubeflow(server)
        with waiting("loading TFX"):
            from pipeline.runners.kubeflow import compile_pipeline

        with tempfile.TemporaryDirectory() as folder:
            package = os.path.join(folder, "pipeline.yaml")
            compile_pipeline(config, image, package)
            run = kubeflow.submit(package, config.name)
        say(f"submitted: {kubeflow.page(run)}")
        _follow(kubeflow, run, server, as_json)


@click.command(
    epilog="Example: arcface-tfx runs follow 5e1f7a0c-3f0e-4a53-9d0c-0d6a6d2f5b1e --host http://localhost:8888"
)
@click.argument("run")
@cluster_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON at the end.")
def follow(run: str, server: "Server | None", as_json: bool) -> None:
    """Follow a RUN of Kubeflow Pipelines, by its id, until it ends: a line for each step."""
    if not re.fullmatch(r"[\w-]+", run):
        raise DataError(f"RUN: expected the id of a run, as its page has it. Received: {run!r}")
    if server is None:
        raise click.UsageError("Missing option '--host'.")
    with quiet():
        with waiting(f"asking {server.host}"):
            from pipeline.runners.kubeflow_api import Kubeflow

            kubeflow = Kubeflow(server, patient=True)
        _follow(kubeflow, run, server, as_json)


def _follow(kubeflow: "Kubeflow", run: str, server: "Server", as_json: bool) -> None:
    """Says how the steps of a run end, and then how it does; exit code 1 unless well.

    Whatever ends the following alone, Ctrl-C, a signal or a token that expired, leaves the words that begin it again.
    """
    try:
        with sigterm_unwinds(signal.SIGHUP):
            outcome = kubeflow.follow(run, _say_step)
    except (KeyboardInterrupt, SystemExit, DataError) as error:
        if isinstance(error, DataError):
            if not kubeflow.knows(run):
                raise
        else:
            say(f"the run goes on: {kubeflow.page(run)}")
        given = {f"--{name.replace('_', '-')}": value for name, value in dataclasses.asdict(server).items() if value}
        words = shlex.join([run, *(word for pair in given.items() for word in pair)])
        say(f"follow it: {own_command()} runs follow {words}")
        raise
    if as_json:
        echo_json(dataclasses.asdict(outcome))
    else:
        click.echo(f"{outcome.state.lower()}: {outcome.url}")
    if not outcome.succeeded:
        if outcome.reason:
            say(f"failed: {outcome.reason}")
        raise click.exceptions.Exit(1)


def _say_step(step: "Step") -> None:
    """A step's line."""
    how = {"SUCCEEDED": ""}.get(step.state, f"  {step.state.lower()}")
    say(f"  {step.name:<22} {step.seconds:6.1f} s{how}{f': {step.reason}' if step.reason else ''}")
