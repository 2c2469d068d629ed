"""The command line: `arcface-tfx COMMAND`, also `python -m pipeline COMMAND`.

Heavy imports happen inside the commands: `--help` must answer at once. TensorFlow takes 6 s, and the settings 0.2 s.
"""

import click

from pipeline.cli import align, compile, data, embed, evaluate, export, gc, models, run, runs, serve, settings, unpack
from pipeline.cli.endings import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="arcface-tfx")
def main() -> None:
    """Train, judge, push and use a face recognition model, from InsightFace's files to TF Serving."""


for _command in (
    data.synth,
    data.inspect,
    align.align,
    data.convert,
    unpack.unpack,
    evaluate.evaluate,
    embed.embed,
    models.verify,
    serve.serve,
    models.import_mxnet,
    models.import_onnx,
    export.export,
    runs.runs,
    gc.gc,
    settings.presets,
    settings.settings,
    run.run,
    compile.compile_,
):
    main.add_command(_command)
