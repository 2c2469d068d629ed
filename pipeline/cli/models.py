"""The commands that read published weights, and that compare two faces; TensorFlow is imported inside them."""

import os
from collections.abc import Callable
from typing import Any

import click

from arcface_common.artifacts import EXTRA, VERIFICATION_FILE
from arcface_common.console import waiting
from arcface_common.errors import DataError
from arcface_common.features import FAR_TARGETS
from pipeline.cli.align_option import ALIGN, check_align
from pipeline.cli.echo import echo_json
from pipeline.cli.embed import resize_option
from pipeline.cli.paths import InputFile, ModelFolder, Number, OutputFolder, Whole
from pipeline.cli.quiet import quiet
from pipeline.cli.server_option import check_alone, converted, opened, server_options


@click.command(epilog="Example: arcface-tfx import-mxnet models/model-r100-ii/model 0 build/r100")
@click.argument("prefix")
@click.argument("epoch", type=Whole(min=0))
@click.argument("out", type=OutputFolder())
@click.option(
    "--node", help="Take the embedding from the output of this name, e.g. fc1. The symbol's own is the default."
)
def import_mxnet(prefix: str, epoch: int, out: str, node: str | None) -> None:
    """Read InsightFace's published MXNet weights.

    They are read from PREFIX-symbol.json and PREFIX-EPOCH.params, and written to the folder OUT.
    """
    for path in (f"{prefix}-symbol.json", f"{prefix}-{epoch:04d}.params"):
        if not os.path.exists(path):
            raise DataError(f"{path}: expected a file of an MXNet checkpoint. Received: no such file")
        InputFile().check(path)

    def read() -> Any:
        from trainer_module.weights import import_mxnet as reader

        return reader.import_mxnet(prefix, epoch, output=node)

    _write_import(prefix, read, out)


@click.command(epilog="Example: arcface-tfx import-onnx models/w600k_r50.onnx build/w600k_r50")
@click.argument("file", type=InputFile())
@click.argument("out", type=OutputFolder())
def import_onnx(file: str, out: str) -> None:
    """Read an ONNX export of iresnet or MobileFaceNet.

    FILE is one of InsightFace's; its weights are written to the folder OUT.
    """

    def read() -> Any:
        from trainer_module.weights import import_onnx as reader

        return reader.import_onnx(file)

    _write_import(file, read, out)


def _write_import(source: str, read: Callable[[], Any], out: str) -> None:
    """Reads, writes, and says where each array went."""
    if os.path.lexists(out):
        raise DataError(f"{out}: expected a folder that doesn't exist yet. Received: an existing one")
    with quiet():
        with waiting("loading TensorFlow"):
            from pipeline.imports import MAPPING_FILE, write_import
        with waiting(f"reading {source}"):
            imported = read()
        with waiting(f"writing {out}"):
            write_import(imported, out)
    parameters = imported.backbone.count_params()
    click.echo(f"{imported.source}: {imported.name}, {imported.embedding_dim} dimensions, {parameters:,} parameters")
    click.echo(f"{imported.pixel_format}")
    click.echo(f"{len(imported.mapping)} arrays mapped: {os.path.join(out, MAPPING_FILE)}")
    click.echo(f"{out}: written")


@click.command(epilog="Example: arcface-tfx verify build/demo/serving/arcface a.jpg b.jpg --far 1e-2")
@click.argument("model", metavar="[MODEL]", shell_complete=ModelFolder().shell_complete)
@click.argument("a", metavar="A", shell_complete=InputFile().shell_complete)
@click.argument("b", metavar="B", required=False, shell_complete=InputFile().shell_complete)
@click.option(
    "--threshold",
    type=Number(-1, 1),
    help="Call two faces one person where their cosine is above this one, -1..1. The default is the threshold of the "
    "highest accuracy in the model's evaluation.",
)
@click.option(
    "--far",
    type=Number(),
    help="Take the threshold of this false accept rate from the model's evaluation: "
    f"{', '.join(f'{rate:g}' for rate in FAR_TARGETS)}, as far as its pairs bear them.",
)
@click.option(
    "--set-name",
    help="Take the threshold that was chosen on this verification set. The first that has one is the default.",
)
@ALIGN
@resize_option
@server_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    model: str,
    a: str,
    b: str | None,
    threshold: float | None,
    far: float | None,
    set_name: str | None,
    align: bool,
    resize: bool,
    server: str | None,
    server_model: str,
    token_file: str | None,
    ca_cert: str | None,
    as_json: bool,
) -> None:
    """Say whether two aligned 112x112 faces, or two photos, show one person.

    MODEL is a pushed version, the folder of versions, of which the latest is taken, or an import's folder, which knows
    no threshold of its own. A and B are JPEG or PNG files. It takes two to three seconds to start; a server, see
    --server, answers in milliseconds.
    """
    check_align(align, resize)
    if threshold is not None and (far is not None or set_name is not None):
        raise click.UsageError("--threshold goes without --far and --set-name, which take one from the evaluation")
    if far is not None and far not in FAR_TARGETS:
        raise DataError(f"--far: expected one of {', '.join(f'{rate:g}' for rate in FAR_TARGETS)}. Received: {far:g}")
    check_alone(server, token_file=token_file, ca_cert=ca_cert)
    if (b is None) == (server is None):
        expected = "A and B alone with --server" if server is not None else "MODEL, A and B"
        raise click.UsageError(f"expected {expected}. Received: {2 + (b is not None)} arguments")
    from serving.thresholds import Threshold, given_threshold, read_threshold

    found: Threshold | None = None if threshold is None else given_threshold(threshold)
    if b is None:
        model, a, b = "", converted(InputFile(), "a", model), converted(InputFile(), "b", a)
    else:
        from serving.versions import resolve

        for kind, name, value in ((ModelFolder(), "model", model), (InputFile(), "a", a), (InputFile(), "b", b)):
            converted(kind, name, value)
        model = resolve(model)
        found = found or read_threshold(os.path.join(model, EXTRA, VERIFICATION_FILE), set_name, far)
        far = set_name = None
    with quiet():
        loaded = opened(model, server, server_model, token_file, ca_cert)
        verdict = loaded.verify(a, b, found, far=far, set_name=set_name, align=align, resize=resize)
    if as_json:
        echo_json(verdict.to_dict())
    else:
        click.echo(
            f"{'same' if verdict.same else 'different'}: cosine {verdict.cosine:.4f}, "
            f"{'above' if verdict.same else 'not above'} {verdict.threshold}"
        )
