"""The command line: `arcface-tfx COMMAND`, also `python -m pipeline COMMAND`.

Heavy imports happen inside the commands: `--help` must answer at once, and TensorFlow alone takes 6 s.
"""

import dataclasses
import functools
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from typing import Any

import click

from components.filesystem import is_local
from pipeline.align_command import align
from pipeline.align_option import ALIGN, faces_of
from pipeline.backbone_check import check_backbone
from pipeline.beam_runners import RUNNERS, beam_args, check_with_beam
from pipeline.config import PRESETS, make_config
from pipeline.data_commands import convert, echo_json, inspect, synth
from pipeline.endings import Commands, ends_in_words
from pipeline.evaluate_command import evaluate
from pipeline.gc_command import gc
from pipeline.paths import InputFile, InputFolder, Number, OutputFile, OutputFolder
from pipeline.quiet import quiet
from pipeline.runs.command import runs
from pipeline.unpack_command import unpack
from trainer_module.console import say
from trainer_module.errors import DataError

_DEFAULT_ROOT = os.path.join("build", "run")
_RESIZE = click.option(
    "--resize", is_flag=True, help="Resize images that are not 112x112 (bilinear); their faces must be aligned."
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="arcface-tfx")
def main() -> None:
    """Train, judge, push and use a face recognition model, from InsightFace's files to TF Serving."""


for _command in (synth, inspect, align, convert, unpack, evaluate, runs, gc):
    main.add_command(_command)


def _import_command(name: str, example: str) -> Callable[..., Any]:
    """Decorator of the two import commands, which differ in what they read alone."""
    return main.command(name, epilog=f"Example: arcface-tfx {name} {example}")


def _write_import(read: Callable[[], Any], out: str) -> None:
    """Reads, writes, and says where each array went."""
    if os.path.lexists(out):
        raise DataError(f"{out}: expected a folder that doesn't exist yet. Received: an existing one")
    with quiet():
        from pipeline.imports import MAPPING_FILE, write_import

        imported = read()
        write_import(imported, out)
    parameters = imported.backbone.count_params()
    click.echo(f"{imported.source}: {imported.name}, {imported.embedding_dim} dimensions, {parameters:,} parameters")
    click.echo(f"{imported.pixel_format}")
    click.echo(f"{len(imported.mapping)} arrays mapped: {os.path.join(out, MAPPING_FILE)}")
    click.echo(f"{out}: written")


@_import_command("import-mxnet", "models/model-r100-ii/model 0 build/r100")
@click.argument("prefix")
@click.argument("epoch", type=click.IntRange(min=0))
@click.argument("out", type=OutputFolder())
@click.option("--output", help="Node that gives the embedding, e.g. fc1; the symbol's own output by default.")
def import_mxnet(prefix: str, epoch: int, out: str, output: str | None) -> None:
    """Read InsightFace's MXNet checkpoint PREFIX-symbol.json and PREFIX-EPOCH.params into OUT."""
    for path in (f"{prefix}-symbol.json", f"{prefix}-{epoch:04d}.params"):
        if not os.path.exists(path):
            raise DataError(f"{path}: expected a file of an MXNet checkpoint. Received: no such file")
        InputFile().check(path)

    def read() -> Any:
        from trainer_module.weights import import_mxnet as reader

        return reader.import_mxnet(prefix, epoch, output=output)

    _write_import(read, out)


@_import_command("import-onnx", "models/w600k_r50.onnx build/w600k_r50")
@click.argument("file", type=InputFile())
@click.argument("out", type=OutputFolder())
def import_onnx(file: str, out: str) -> None:
    """Read an ONNX export of InsightFace's iresnet or MobileFaceNet into OUT."""

    def read() -> Any:
        from trainer_module.weights import import_onnx as reader

        return reader.import_onnx(file)

    _write_import(read, out)


_INGEST_FLAGS = ("on_bad_record", "min_images_per_identity", "holdout")


def pipeline_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `run` and `compile` share; settings of ingest that have a flag of their own become `--set`s."""

    @functools.wraps(command)
    def with_settings(*, overrides: tuple[str, ...], **given: Any) -> None:
        flags = {name: given.pop(name) for name in _INGEST_FLAGS}
        settings = tuple(f"ingest.{name}={value}" for name, value in flags.items() if value is not None)
        command(overrides=(*settings, *overrides), **given)

    decorated: Callable[..., Any] = with_settings
    for option in (
        click.option("--holdout", type=Number(0, 0.5), help="Share of each identity's images to keep out of training."),
        click.option(
            "--min-images-per-identity", type=click.IntRange(min=1), help="Leave out identities with fewer images."
        ),
        click.option(
            "--on-bad-record",
            type=click.Choice(["fail", "quarantine"]),
            help="End at a bad record of train.rec (default), or write it aside with the reason and go on.",
        ),
        click.option(
            "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Override a setting, e.g. train.steps=200."
        ),
        click.option("--preset", type=click.Choice(sorted(PRESETS)), default="demo", show_default=True),
        click.option(
            "--beam-arg", "beam_given", multiple=True, metavar="--NAME=VALUE", help="An option of Beam's, any number."
        ),
        click.option(
            "--beam-runner",
            type=click.Choice(list(RUNNERS)),
            default="local",
            show_default=True,
            help="Where ingest, statistics, Transform's analysis and evaluation run.",
        ),
    ):
        decorated = option(decorated)
    return decorated


@main.command(epilog="Example: arcface-tfx run --data faces/ms1m --preset r50 --set train.workers=2")
@click.option("--data", required=True, type=click.Path(), help="Folder with train.rec, train.idx and the .bin sets.")
@click.option("--root", default=_DEFAULT_ROOT, show_default=True, type=OutputFolder(), help="Where results go.")
@click.option(
    "--init-from",
    type=InputFolder(),
    help="Start from the backbone of a training run or an import; with --set train.steps=0, judge it as it is.",
)
@pipeline_options
@click.option("--wait", is_flag=True, help="Wait for another run in the same root, instead of ending.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def run(
    data: str,
    root: str,
    init_from: str | None,
    preset: str,
    overrides: tuple[str, ...],
    beam_runner: str,
    beam_given: tuple[str, ...],
    wait: bool,
    as_json: bool,
) -> None:
    """Run the pipeline on this machine; what has not changed since the last run comes from the cache."""
    from pipeline.preflight import check_run

    data = os.path.abspath(data) if is_local(data) else data
    config = make_config(data, os.path.abspath(root) if is_local(root) else root, preset, overrides, init_from)
    config = dataclasses.replace(check_run(config), beam_args=beam_args(beam_runner, beam_given))
    check_with_beam(config.beam_args, here=True)
    say(f"preset {preset}: {PRESETS[preset].about}")
    from pipeline.runs.recording import recorded_run

    with recorded_run(config, preset, wait) as recording, ends_in_words(recording.log):
        from pipeline.local_runner import run_nodes

        summary = run_nodes(config, recording)
    if as_json:
        files = {"run": recording.name, "folder": recording.folder, "log": recording.log, "noise": recording.noise}
        echo_json({**summary.to_dict(), **files})
    else:
        _print_summary(summary, recording.folder, recording.log)


def _print_summary(summary: Any, folder: str, log: str) -> None:
    from pipeline.tables import as_typed, summary_lines

    click.echo("\n".join(["", *summary_lines(summary, folder, log)]))
    command = "arcface-tfx" if shutil.which("arcface-tfx") else f"{os.path.relpath(sys.executable)} -m pipeline"
    click.echo(f"\nask it:      {command} embed {shlex.quote(as_typed(summary.pushed or summary.model))} IMAGE.jpg")


@main.command(
    "compile", epilog="Example: arcface-tfx compile --data gs://b/ms1m --root gs://b/runs --image repo/arcface"
)
@click.option("--output", required=True, type=OutputFile(), help="The YAML file to write.")
@click.option("--data", required=True, help="The data set's folder as the cluster's pods see it.")
@click.option("--root", required=True, help="Where results go, as the pods see it.")
@click.option("--image", required=True, help="Container image with this project installed (see the Dockerfile).")
@pipeline_options
def compile_(
    output: str,
    data: str,
    root: str,
    image: str,
    preset: str,
    overrides: tuple[str, ...],
    beam_runner: str,
    beam_given: tuple[str, ...],
) -> None:
    """Compile the same pipeline for Kubeflow Pipelines (spec 2.1)."""
    config = make_config(data, root, preset, overrides, here=False)
    check_backbone(config.train, here=False)
    config = dataclasses.replace(config, beam_args=beam_args(beam_runner, beam_given))
    check_with_beam(config.beam_args, here=False)
    with quiet():
        from pipeline.kubeflow_runner import compile_pipeline

        compile_pipeline(config, image, output)
    click.echo(f"{output}: written")


@main.command(epilog="Example: arcface-tfx embed build/demo/serving/arcface face.jpg --output embeddings.npy")
@click.argument("model", type=InputFolder())
@click.argument("images", nargs=-1, required=True, type=InputFile())
@click.option("--output", type=OutputFile(), help="Write float32 [N, D] as .npy instead of JSON.")
@ALIGN
@_RESIZE
def embed(model: str, images: tuple[str, ...], output: str | None, align: bool, resize: bool) -> None:
    """Embed aligned 112x112 faces with MODEL, a pushed version or the folder of versions."""
    with quiet(), faces_of(images, align, resize) as faces:
        from serving.local import LocalModel

        answer = LocalModel(model).embed(faces, resize=resize)
    if output:
        import numpy as np

        aside = f"{output}.{os.getpid()}.npy"
        np.save(aside, answer.embeddings)
        os.replace(aside, output)
        click.echo(f"{output}: float32 {list(answer.embeddings.shape)}")
    else:
        rows = zip(images, answer.embeddings.tolist(), answer.norms.tolist(), strict=True)
        echo_json([{"image": image, "embedding": embedding, "norm": norm} for image, embedding, norm in rows])


@main.command(epilog="Example: arcface-tfx verify build/demo/serving/arcface a.jpg b.jpg")
@click.argument("model", type=InputFolder())
@click.argument("a", type=InputFile())
@click.argument("b", type=InputFile())
@click.option("--set", "name", help="Take the threshold of this verification set; the first evaluated one by default.")
@click.option("--threshold", type=Number(0, 4), help="Squared distance, 0..4, below which two faces are one person.")
@ALIGN
@_RESIZE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    model: str, a: str, b: str, name: str | None, threshold: float | None, align: bool, resize: bool, as_json: bool
) -> None:
    """Say whether two aligned 112x112 faces are one person, at the threshold that the evaluation found."""
    with quiet(), faces_of([a, b], align, resize) as faces:
        from serving.local import LocalModel

        loaded = LocalModel(model)
        verdict = loaded.verify(
            faces[0], faces[1], loaded.threshold(name) if threshold is None else threshold, resize=resize
        )
    if as_json:
        echo_json(verdict.to_dict())
    else:
        click.echo(
            f"{'same' if verdict.same else 'different'}: cosine {verdict.cosine:.4f}, "
            f"{'above' if verdict.same else 'not above'} {verdict.cosine_threshold:.4f}"
        )


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def presets(as_json: bool) -> None:
    """List the presets: what each is for, and its settings."""
    if as_json:
        echo_json({name: {"about": preset.about, **preset.settings} for name, preset in PRESETS.items()})
        return
    for name, preset in PRESETS.items():
        click.echo(f"{name}: {preset.about}")
        for setting, value in preset.settings.items():
            click.echo(f"    {setting}={_as_yaml(value)}")


def _as_yaml(value: Any) -> str:
    """A setting's value as `--set` reads it back."""
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)
