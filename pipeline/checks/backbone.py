"""A backbone's name and options, checked before ingest and without importing what builds it.

What is wrong with them must not show after an hour of ingest; and TensorFlow alone takes 6 s to import.
"""

import ast
import importlib.machinery
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import trainer_module
from arcface_common.errors import DataError, cut, did_you_mean
from pipeline import other_names
from trainer_module.backbone_facts import BACKBONES, NORMS, OPTION_RANGES, STAGE_LISTS
from trainer_module.settings import TrainSettings

_OF_BUILD = ("name", "embedding_dim", "dropout", "norm")  # what `backbones.build` passes to every builder


def check_backbone(settings: TrainSettings, *, here: bool) -> None:
    """Checks the backbone's name and its options against the function that will build it; imports nothing.

    Args:
      settings: `backbone`, `backbone_options` and `norm`.
      here: the run trains on this machine, so that an own backbone's module must be found on it.

    Raises:
      DataError: no such backbone, norm or option, or a value of another type than its default's annotation says.
    """
    if settings.norm not in NORMS:
        raise DataError(
            f"train.norm must be one of {', '.join(NORMS)}. Received: norm={settings.norm!r}"
            f"{did_you_mean(settings.norm, NORMS)}"
        )
    for name in ("norm", "embedding_dim"):
        if name in settings.backbone_options:
            raise DataError(f"train.backbone_options: expected {name} as train.{name}. Received: {name}")
    dropout = settings.backbone_options.get("dropout", 0.0)
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise DataError(f"train.backbone_options.dropout must lie in [0, 1). Received: {dropout!r}")
    module, colon, function = settings.backbone.partition(":")
    if not colon:
        known = BACKBONES.get(settings.backbone)
        if known is None:
            raise DataError(
                f"train.backbone must be one of {', '.join(BACKBONES)}, or package.module:function. "
                f"Received: {settings.backbone!r}"
                f"{did_you_mean(other_names.BACKBONES.get(settings.backbone, settings.backbone), BACKBONES)}"
            )
        path: Path | None = Path(trainer_module.__file__).with_name("backbones") / f"{known.module}.py"
        function = known.module
    elif module.partition(".")[0] in sys.stdlib_module_names:
        raise DataError(f"train.backbone: expected a function of your own. Received: {settings.backbone!r}, of Python")
    elif here:
        path = _source(module)
    else:
        return
    if path is not None:
        _check_function(path, function, settings)
    if not colon:
        _check_values(settings)


def _check_values(settings: TrainSettings) -> None:
    """Checks what a registered backbone is to be built with, where types are right: ranges, and lists of one length.

    Raises:
      DataError: a value that no network has, or that would take minutes to build.
    """
    lists = {name: value for name, value in settings.backbone_options.items() if isinstance(value, list)}
    for name, value in settings.backbone_options.items():
        least, most = OPTION_RANGES.get(name, (-math.inf, math.inf))
        entries = value if isinstance(value, list) else [value]
        if any(entry is not None and not least <= entry <= most for entry in entries):
            each = " each" if name in lists else ""
            raise DataError(
                f"train.backbone_options.{name} must lie in {least:,} .. {most:,}{each}. Received: {cut(repr(value))}"
            )
    facts = BACKBONES[settings.backbone]
    lengths = {len(value) for value in lists.values()}
    if set(lists) < set(STAGE_LISTS[facts.module]):
        lengths.add(facts.stages)
    if lists and (len(lengths) > 1 or 0 in lengths):
        raise DataError(
            f"train.backbone_options: expected lists of one entry a stage: {facts.stages} as {settings.backbone} has "
            f"them, or all of {', '.join(STAGE_LISTS[facts.module])} of one length. "
            f"Received: {cut(', '.join(f'{name} of {len(value)}' for name, value in lists.items()))}"
        )


def _source(module: str) -> Path | None:
    """The source file of a module, found as an import would, without running it; None if it is no Python source.

    Raises:
      DataError: no such module.
    """
    search: Sequence[str] | None = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        spec = importlib.machinery.PathFinder.find_spec(name, search) if all(parts[:depth]) else None
        loaded = sys.modules.get(name)
        if spec is None and loaded is not None:
            spec = loaded.__spec__
        if spec is None:
            raise DataError(f"train.backbone: expected a module on Python's path. Received: no {name!r} of {module!r}")
        search = spec.submodule_search_locations or []
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _check_function(path: Path, function: str, settings: TrainSettings) -> None:
    """Checks that a module defines the function and that it takes the options.

    Raises:
      DataError: it doesn't.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{path}: expected Python, for train.backbone. Received: {error}") from error
    defined = dict(pair for statement in tree.body for pair in _definitions(statement))
    node = defined.get(function)
    if node is None:
        if "*" in defined:  # of another module, by a star
            return
        raise DataError(
            f"{path}: expected a function {function!r}, which train.backbone names. "
            f"Received: none{did_you_mean(function, defined)}"
        )
    if not isinstance(node, ast.FunctionDef) or node.args.kwarg is not None:
        return  # what takes anything, or is made by a call
    parameters = {parameter.arg: parameter for parameter in (*node.args.args, *node.args.kwonlyargs)}
    known = ["dropout", *(name for name in parameters if name not in _OF_BUILD)]
    for option, value in settings.backbone_options.items():
        if option == "dropout":
            continue
        if option not in known:
            raise DataError(
                f"train.backbone_options: expected options of {settings.backbone}: {', '.join(known)}. "
                f"Received: {option!r}{did_you_mean(option, known)}"
            )
        if not _fits(parameters[option].annotation, value):
            kind = ast.unparse(parameters[option].annotation or ast.Constant("any"))
            raise DataError(
                f"train.backbone_options.{option} expects a value of type {kind}. Received: {cut(repr(value))}"
            )


def _definitions(node: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """The names that a statement of a module defines, also inside `if` and `try`, and what defines each."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name, node
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name, node) for alias in node.names)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    yield from ((target.id, node) for target in targets if isinstance(target, ast.Name))
    for block in ("body", "orelse", "finalbody"):
        for child in getattr(node, block, []):
            yield from _definitions(child)


def _fits(annotation: ast.expr | None, value: Any) -> bool:
    """Whether a plain value is of an annotated kind, where that is a simple one; what isn't known fits."""
    text = "" if annotation is None else ast.unparse(annotation)
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
    names = [part.strip() for part in text.split("|")]
    if "Sequence[int]" in names:
        return isinstance(value, list) and all(type(entry) is int for entry in value)
    if not set(names) <= {*kinds, "None"}:
        return True
    if value is None:
        return "None" in names
    if isinstance(value, bool):
        return "bool" in names
    return any(isinstance(value, kinds[name]) for name in names if name not in ("None", "bool"))
