"""What a person reads at the end of a run or an evaluation; light, since `evaluate` needs nothing of TFX."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from arcface_common.errors import setting_argument
from arcface_common.features import VERIFY_SPLIT
from arcface_common.protocol.support import reason_lines
from arcface_common.protocol.verdict_warnings import verdict_warnings
from pipeline.checks.files import as_typed

if TYPE_CHECKING:  # it imports ML Metadata, which `evaluate` needs nothing of
    from pipeline.summary import RunSummary

_SHOWN = {"accuracy": "accuracy", "tar_1e2": "TAR@FAR=1e-2", "tar": "TAR@FAR=1e-3", "xnorm": "XNorm"}


def summary_lines(summary: "RunSummary", folder: str, log: str) -> list[str]:
    """What a run came to: what ran, figures and verdict, and where everything lies.

    Args:
      summary: of the run.
      folder: the run's own.
      log: its log.
    """
    states = list(summary.nodes.values())
    lines = [f"{states.count('ran')} nodes ran, {states.count('cached')} from cache"]
    if summary.ingest:
        lines += ingest_lines(summary.ingest)
    if found := summary.verification:
        lines += [
            "",
            *verification_table(found["sets"], found["undefined"]),
            "",
            *verdict_lines(found),
            "",
        ]
    if summary.holdout:
        share = shown(summary.holdout["accuracy"])
        lines.append(f"held out     {share} of {summary.holdout['images']:,} images recognised")
    model = as_typed(summary.pushed or summary.model or "")
    lines.append(f"model        {model if summary.pushed else f'not pushed; exported to {model}'}")
    if not summary.pushed and summary.verification:
        lines += [f"             {line}" for line in _gate_lines(summary.verification["conditions"])]
    if summary.already_served and summary.pushed:
        lines.append(f"             already served as version {os.path.basename(summary.pushed)}")
    if summary.report:
        lines.append(f"report       {as_typed(summary.report)}")
    if summary.tensorboard:
        lines.append(f"tensorboard  {tensorboard_command(summary.tensorboard)}")
    return [*lines, f"run          {as_typed(folder)}", f"log          {as_typed(log)}"]


def _gate_lines(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which conditions kept a model from being pushed, and how to set others."""
    failing = [condition["text"] for condition in conditions if not condition["holds"]]
    if not failing:
        return []
    gate = f"evaluation.conditions=[{', '.join(condition['text'] for condition in conditions)}]"
    return [
        f"blocked by {' and by '.join(failing)}",
        f"to change the gate, put other numbers into: {setting_argument(shlex.quote(gate))}",
    ]


def tensorboard_command(folder: str) -> str:
    """The command that shows a training run's curves, for a shell in this folder."""
    beside = os.path.join(os.path.dirname(sys.executable), "tensorboard")
    program = beside if os.path.exists(beside) and shutil.which("tensorboard") != beside else "tensorboard"
    return shlex.join([as_typed(program), "--logdir", as_typed(folder)])


def ingest_lines(ingest: dict[str, Any]) -> list[str]:
    """What was ingested, and what was not."""
    lines = [f"{ingest['records']:,} images of {ingest['identities']:,} identities"]
    if ingest["holdout_records"]:
        lines.append(f"{ingest['train_records']:,} of them train, {ingest['holdout_records']:,} are held out")
    if ingest["verify_identities"]:
        kept = f"{ingest['verify_identities']:,} identities ({ingest['verify_records']:,} images)"
        lines.append(f"{kept} kept out of training: the set {VERIFY_SPLIT} is drawn of them")
    if ingest["turned"]:
        lines.append(f"{ingest['turned']:,} images turned as their EXIF orientation says")
    if ingest["left_out_identities"]:
        small = f"{ingest['left_out_identities']:,} identities with too few images"
        lines.append(f"{small} ({ingest['left_out_images']:,} images) left out")
    if ingest["quarantined"]:
        lines.append(f"WARNING {ingest['quarantined']:,} bad records quarantined: {as_typed(ingest['quarantine'])}")
    return lines


def verification_table(sets: Mapping[str, dict[str, Any]], undefined: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The figures of each set as lines of a table: accuracy and its spread, TAR at FAR 1e-2 and 1e-3, XNorm.

    Args:
      sets: set -> figure -> value.
      undefined: set -> figure -> why it has none: a dash, with the reason below the table.
    """
    accuracy, easy, tar, xnorm = _SHOWN.values()
    lines = [f"{'set':<10} {'pairs':>6}  {f'{accuracy} ± std':<17}  {easy:<12}  {tar:<12}  {xnorm:>7}"]
    for name, of in sets.items():
        cells = f"{spread(of['accuracy'], of['accuracy_std']):<17}  {shown(of['tar_1e2']):<12}  {shown(of['tar']):<12}"
        lines.append(f"{name:<10} {of['pairs']:>6.0f}  {cells}  {shown(of['xnorm'], 3):>7}")
    return [*lines, *(f"-  {line}" for line in reason_lines(undefined, _SHOWN))]


def verdict_lines(verification: dict[str, Any]) -> list[str]:
    """The verdict in words: what flatters it, each condition with its figure, the figures of models blessed before."""
    lines = [f"WARNING {warning}" for warning in verdict_warnings(verification)]
    if verification["folds"] != "contiguous":
        lines.append(f"folds: {verification['folds']}")
    lines.append("blessed" if verification["blessed"] else "NOT blessed")
    for condition in verification["conditions"]:
        state = "holds" if condition["holds"] else "FAILS"
        lines.append(f"  {state}  {condition['text']}: {_found(condition, verification)}")
    if verification["baseline"] is None:
        lines.append("  first model: no comparison, the conditions on its own figures decide")
    else:
        lines.append(f"  blessed before: {_accuracies(verification['baseline'])}")
        best = verification["best"]
        for model in dict.fromkeys(values["model"] for values in best.values()):
            own = {name: values for name, values in best.items() if values["model"] == model}
            lines.append(f"  best so far: {_accuracies(own)} by {as_typed(model)}")
    return lines


def _accuracies(of_sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Accuracy of a model on each set."""
    return ", ".join(f"{name} {shown(values['accuracy'])}" for name, values in of_sets.items())


def _found(condition: dict[str, Any], verification: dict[str, Any]) -> str:
    """What a condition's figure is, or why there is none."""
    if condition["reason"]:
        return str(condition["reason"])
    if condition["kind"] != "change":
        return shown(condition["value"])
    if verification["baseline"] is None:
        return "first model: no comparison"
    best = condition["best"]
    words = f"; against the best so far ({best['accuracy']:.4f}) {_difference(best)}" if best else ""
    return _difference(condition) + words


def _difference(found: dict[str, Any]) -> str:
    """A difference of two models in words."""
    significant = found["value"] == found["difference"]
    words = "" if significant else ", not significant: counts as 0"
    return f"{found['difference']:+.4f}, McNemar p = {found['p_value']:.2g}{words}"


def spread(mean: float | None, std: float | None) -> str:
    """A mean and its standard deviation."""
    return "-" if mean is None else f"{mean:.4f} ± {std:.4f}"


def shown(value: float | None, digits: int = 4) -> str:
    """A figure, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"
