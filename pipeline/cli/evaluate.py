"""The command that judges a model outside a pipeline; TensorFlow is imported inside it."""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from arcface_common.aside import file_aside
from arcface_common.console import tinted, waiting
from arcface_common.errors import DataError
from arcface_common.features import PixelFormat
from arcface_common.name_text import in_one_line
from arcface_common.protocol.conditions import CUTS, Cut
from evaluator_custom.report.files import plots_folder
from pipeline.cli.align_option import ALIGN, faces_in
from pipeline.cli.echo import echo_json
from pipeline.cli.paths import InputFolder, Model, Number, OneOf, OutputFile, Whole, check_outside
from pipeline.cli.quiet import quiet
from serving.versions import find_network


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say how a network of another origin takes images; `embedder_options` reads them."""
    for option in (
        click.option(
            "--layout", type=OneOf(["nchw", "nhwc"]), help="Say in which order its axes are, where that is open."
        ),
        click.option(
            "--size",
            type=Whole(min=1),
            help="Say how high and wide its images are, where that is open.  [112]",
        ),
        click.option(
            "--scale", type=Number(min=0, min_open=True), help="Feed pixels of 0..255 as (x - mean) / scale.  [128]"
        ),
        click.option("--mean", type=Number(), help="See --scale; arcface_torch's ONNX take 127.5 and 127.5.  [127.5]"),
        click.option("--node", help="Take the embedding from the output of this name, where it has several."),
        click.option("--input", "input_name", help="Feed images to the input of this name."),
        click.option(
            "--signature", help="Use this signature of a SavedModel, where several take images and none is the default."
        ),
        click.option(
            "--colour",
            type=OneOf(["rgb", "bgr"]),
            default="rgb",
            show_default=True,
            help="Feed the model this colour order; bgr shows what a wrong order does to a model of ours.",
        ),
    ):
        command = option(command)
    return command


def embedder_options(values: dict[str, Any]) -> tuple[Any, bool]:
    """What the command line says about a network.

    Args:
      values: of all that `network_options` adds.

    Returns:
      `EmbedderOptions`, and whether any of it would be ignored by a model of ours.

    Raises:
      DataError: a scale that is not positive.
    """
    from evaluator_custom.networks.foreign import EmbedderOptions

    names = {"signature": "signature", "input_name": "input", "node": "output", "size": "size", "layout": "layout"}
    given = {field: values[name] for name, field in names.items() if values[name] is not None}
    pixels = {name: values[name] for name in ("mean", "scale") if values[name] is not None}
    try:
        pixel_format = PixelFormat(colour=values["colour"], **pixels)
    except ValueError as error:
        raise DataError(str(error)) from error
    return EmbedderOptions(pixels=pixel_format, **given), bool(given or pixels)


def result_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where the figures go."""
    for option in (
        click.option(
            "--report",
            type=OutputFile([".html", ".htm"]),
            help="Also write a page with curves and the worst cases to this file, which ends in .html.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON."),
        click.option(
            "--output", type=OutputFile([".json"]), help="Also write all figures to this file, which ends in .json."
        ),
    ):
        command = option(command)
    return command


_RESIZE = click.option("--resize", is_flag=True, help="Resize images that are not 112x112.")
_SKIP_BAD = click.option("--skip-bad", is_flag=True, help="Leave out images that can't be used, and say which.")


@click.group(epilog="Example: arcface-tfx evaluate sets build/y1 --data faces/ms1m")
def evaluate() -> None:
    """Judge a model by verification sets, by a folder of faces, or by a search.

    MODEL is one of ours (pushed, imported or exported), or any SavedModel or ONNX file that takes images; the options
    from --colour on say how such a one takes them, as far as it doesn't say so itself.
    """


@evaluate.command(
    "sets",
    epilog="Examples: arcface-tfx evaluate sets build/y1 --data faces/ms1m --sets lfw,agedb_30;  "
    "arcface-tfx evaluate sets build/r50 --compare w600k_r50.onnx --mean 127.5 --scale 127.5 --data faces/ms1m",
)
@click.argument("model", type=Model())
@click.option("--data", required=True, type=InputFolder(), help="Judge by the sets <set>.bin in this folder.")
@click.option(
    "--sets",
    help="Judge by these sets, names with commas between them. The default is those of the usual four that are there, "
    "or else all.",
)
@click.option(
    "--folds",
    type=OneOf(CUTS),
    default=CUTS[0],
    show_default=True,
    help="Cut the folds in file order, as published, or stratified: for sets that are sorted by kind.",
)
@click.option("--compare", metavar="OTHER", type=Model(), help="Judge a second model by the same.")
@result_options
@network_options
def evaluate_sets(
    model: str,
    data: str,
    sets: str | None,
    folds: Cut,
    compare: str | None,
    output: str | None,
    as_json: bool,
    report: str | None,
    **flags: Any,
) -> None:
    """Judge MODEL by InsightFace's 10-fold verification, as the pipeline does, or two models by the same pairs."""
    from components.content_digest import content_digest
    from pipeline.evaluation.set_files import find_sets

    if compare and os.path.samefile(find_network(model), find_network(compare)):
        raise DataError(f"--compare: expected another model than {model!r}. Received: the same, {compare!r}")
    _check_places(report, output, [data, model, *([compare] if compare else [])])
    paths = find_sets(data, sets)
    with quiet():
        with waiting("loading TensorFlow"):
            from evaluator_custom.report.page import write_report
            from pipeline.evaluation.facts import model_facts
            from pipeline.evaluation.verification import compared, comparison_table, evaluate_set
            from pipeline.runs.tables import verification_table

        embedders = _load([model] if compare is None else [model, compare], flags)
        first, *others = (
            [evaluate_set(embedder, name, path, folds) for name, path in paths.items()] for embedder in embedders
        )
        figures: dict[str, Any] = {pairs.name: pairs.result.to_dict() for pairs in first}
        table = verification_table(figures, {pairs.name: pairs.result.undefined for pairs in first})
        warnings = [f"{pairs.name}: {text}" for pairs in first for text in pairs.result.warnings]
        if compare is not None:
            table = [f"first   {model}", f"second  {compare}", "", *comparison_table(first, others[0])]
            for own, other in zip(first, others[0], strict=True):
                figures[own.name]["comparison"] = {"model": compare, **compared(own, other)}
        cut = [] if folds == CUTS[0] else [f"folds: {folds}"]
        _show([*table, *(f"WARNING {warning}" for warning in warnings), *cut], figures, output, as_json)
        if report:  # last: figures don't hang on whether it can be drawn
            digest = f"{os.path.dirname(next(iter(paths.values())))}, digest {content_digest(list(paths.values()))}"
            of_data = {"verification data": digest, **({} if folds == CUTS[0] else {"folds": folds})}
            facts = model_facts(embedders[0], model, of_data, "pipeline.evaluation.verification")
            baseline = others[0] if others else None
            write_report(report, first, facts, baseline=baseline, baseline_name=compare, warnings=warnings)
            click.echo(f"{report}: written", err=as_json)


@evaluate.command("folder", epilog="Example: arcface-tfx evaluate folder build/y1 aligned/ --report build/page.html")
@click.argument("model", type=Model())
@click.argument("folder", type=InputFolder())
@ALIGN
@_RESIZE
@_SKIP_BAD
@result_options
@network_options
def evaluate_folder(model: str, folder: str, **given: Any) -> None:
    """Judge MODEL by all pairs of the faces in FOLDER (1:1) and by a search among them (1:N).

    FOLDER has one folder of faces an identity. Of each the first image, or the one named gallery, is known to the
    search, and the others are its probes. Identities of one image, or else every fifth, are unknown to it.
    """
    from pipeline.evaluation import folders

    _evaluate_faces(model, {"faces": folder}, folders.evaluate_folder, **given)


@evaluate.command(
    "search", epilog="Example: arcface-tfx evaluate search build/y1 --gallery faces/known --probes faces/door"
)
@click.argument("model", type=Model())
@click.option(
    "--gallery", required=True, type=InputFolder(), help="Take the known from this folder, one folder an identity."
)
@click.option("--probes", required=True, type=InputFolder(), help="Search the images in this folder, likewise.")
@click.option(
    "--template",
    type=OneOf(["mean", "best"]),
    default="mean",
    show_default=True,
    help="Score a known one by this of all its images.",
)
@ALIGN
@_RESIZE
@_SKIP_BAD
@result_options
@network_options
def evaluate_search(model: str, gallery: str, probes: str, template: Any, **given: Any) -> None:
    """Judge MODEL by a search of probes, some of them maybe unknown, in a gallery (1:N)."""
    from pipeline.evaluation.folders import evaluate_gallery

    judge = functools.partial(evaluate_gallery, template=template)
    _evaluate_faces(model, {"gallery": gallery, "probes": probes}, judge, **given)


def _evaluate_faces(
    model: str,
    folders: dict[str, str],
    judge: Callable[..., Any],
    *,
    align: bool,
    resize: bool,
    skip_bad: bool,
    output: str | None,
    as_json: bool,
    report: str | None,
    **flags: Any,
) -> None:
    """1:1 and 1:N figures of the faces in folders, by the function that judges an embedder by them."""
    from pipeline.evaluation.folders import read_faces

    _check_places(report, output, [model, *folders.values()])
    with contextlib.ExitStack() as crops:
        # Before TensorFlow is imported and the network loaded: a bad image is named in seconds.
        found = {
            name: read_faces(crops.enter_context(faces_in(path, align, resize)), resize=resize, skip_bad=skip_bad)
            for name, path in folders.items()
        }
        with quiet():
            [embedder] = _load([model], flags)
            figures = judge(embedder, *found.values())
            _show(figures.lines(), figures.to_dict(), output, as_json)
            if report:  # last: figures don't hang on whether it can be drawn
                from evaluator_custom.report.folder_page import write_folder_report
                from pipeline.evaluation.facts import model_facts

                of_data = {name: faces.described() for name, faces in found.items()}
                facts = model_facts(embedder, model, of_data, "pipeline.evaluation.folders")
                write_folder_report(report, figures, facts)
                click.echo(f"{report}: written", err=as_json)


def _check_places(report: str | None, output: str | None, folders: Sequence[str]) -> None:
    """Checks that no file is written among what is read, a model's own files or faces, or over what isn't ours.

    Raises:
      DataError: one would be.
    """
    for name, path in (("--report", report), ("--output", output)):
        if path:
            check_outside(name, path, folders)
    if report:
        plots_folder(Path(report))


def _show(lines: list[str], figures: dict[str, Any], output: str | None, as_json: bool) -> None:
    """Writes the figures to a file, and prints them for a person, or as JSON."""
    if output:
        _write_json(output, figures)
    if as_json:
        echo_json(figures)
        return
    for line in lines:
        click.echo(tinted(in_one_line(line), sys.stdout))


def _load(models: list[str], flags: dict[str, Any]) -> list[Any]:
    """Loads the models; an option that none of them would mind is an error."""
    with waiting(f"loading TensorFlow and {' and '.join(models)}"):
        from evaluator_custom.networks.embedder import PairEmbedder
        from evaluator_custom.networks.foreign import load_embedder

        options, foreign_alone = embedder_options(flags)
        embedders = [load_embedder(path, options) for path in models]
    ours = [embedder for embedder in embedders if isinstance(embedder, PairEmbedder)]
    if foreign_alone and len(ours) == len(embedders):
        given = [name.removesuffix("_name") for name, value in flags.items() if name != "colour" and value is not None]
        raise DataError(
            f"{' and '.join(models)}: expected --colour alone for a model of this project, which knows how it takes "
            f"images. Received: --{', --'.join(given)}"
        )
    if len(ours) < len(embedders):
        for embedder in ours:
            embedder.swap_colours = False  # the options are about the other one
    return embedders


def _write_json(path: str, figures: dict[str, Any]) -> None:
    with file_aside(Path(path)) as aside:
        aside.write_text(json.dumps(figures, indent=2))
