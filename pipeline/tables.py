"""What a person reads at the end of a run or an evaluation; light, since `evaluate` needs nothing of TFX."""

from collections.abc import Mapping
from typing import Any

from evaluator_custom.support import reason_lines
from evaluator_custom.verdict_warnings import verdict_warnings

_SHOWN = {"accuracy": "accuracy", "tar_1e2": "TAR@FAR=1e-2", "tar": "TAR@FAR=1e-3", "xnorm": "XNorm"}


def ingest_lines(ingest: dict[str, Any]) -> list[str]:
    """What was ingested, and what was not."""
    lines = [f"{ingest['records']:,} images of {ingest['identities']:,} identities"]
    if ingest["holdout_records"]:
        lines.append(f"{ingest['train_records']:,} of them train, {ingest['holdout_records']:,} are held out")
    if ingest["turned"]:
        lines.append(f"{ingest['turned']:,} images turned as their EXIF orientation says")
    if ingest["left_out_identities"]:
        small = f"{ingest['left_out_identities']:,} identities with too few images"
        lines.append(f"{small} ({ingest['left_out_images']:,} images) left out")
    if ingest["quarantined"]:
        lines.append(f"WARNING {ingest['quarantined']:,} bad records quarantined: {ingest['quarantine']}")
    return lines


def verification_table(sets: Mapping[str, dict[str, Any]], undefined: Mapping[str, Mapping[str, str]]) -> str:
    """The figures of each set as a table: accuracy and its spread, TAR at FAR 1e-2 and 1e-3, XNorm.

    Args:
      sets: set -> figure -> value.
      undefined: set -> figure -> why it has none: a dash, with the reason below the table.
    """
    accuracy, easy, tar, xnorm = _SHOWN.values()
    lines = [f"{'set':<10} {'pairs':>6}  {f'{accuracy} ± std':<17}  {easy:<12}  {tar:<12}  {xnorm:>7}"]
    for name, of in sets.items():
        cells = f"{spread(of['accuracy'], of['accuracy_std']):<17}  {shown(of['tar_1e2']):<12}  {shown(of['tar']):<12}"
        lines.append(f"{name:<10} {of['pairs']:>6.0f}  {cells}  {shown(of['xnorm'], 3):>7}")
    return "\n".join([*lines, *(f"-  {line}" for line in reason_lines(undefined, _SHOWN))])


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
            lines.append(f"  best so far: {_accuracies(own)} by {model}")
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
