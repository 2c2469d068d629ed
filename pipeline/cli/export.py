"""The command that writes a model in another format; TensorFlow is imported inside it."""

import os

import click

from arcface_common.console import waiting
from pipeline.cli.paths import ModelFolder, OneOf, OutputFile, check_outside
from pipeline.cli.quiet import quiet


@click.command(epilog="Example: arcface-tfx export build/demo/serving/arcface --output arcface.onnx")
@click.argument("model", type=ModelFolder())
@click.option("--format", "format_", type=OneOf(["onnx"]), default="onnx", show_default=True, help="Write this format.")
@click.option("--output", type=OutputFile([".onnx"]), required=True, help="Write this file.")
def export(model: str, format_: str, output: str) -> None:
    """Write a model for other engines, such as onnxruntime and OpenVINO.

    MODEL is a SavedModel, an import, or the folder of versions, of which the latest is taken. The file has the network
    that is served, and no decoder: its input is `pixels`, float32 [N, 3, 112, 112], RGB, 0..255; its output is `raw`,
    float32 [N, D], not of length 1, as InsightFace's own files have it. It is written once onnxruntime gives what the
    model gave when it was exported.
    """
    from serving.versions import resolve

    found = resolve(model)
    check_outside("--output", output, [model])
    with quiet():
        with waiting(f"loading TensorFlow and {found}"):
            from serving.onnx_export import export_onnx
        with waiting(f"writing {output}"):
            export_onnx(found, output)
    click.echo(f"{output}: {format_} of {found}, {os.path.getsize(output):,} bytes")
