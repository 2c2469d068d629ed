"""What a person reads at the end of a run or an evaluation; light, since `evaluate` needs nothing of TFX."""

from typing import Any

from evaluator_custom.leaks import leak_warnings


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


def verification_table(sets: dict[str, dict[str, Any]]) -> str:
    """The figures of each set as a table: accuracy and its spread, TAR at FAR 1e-3, XNorm."""
    lines = [f"{'set':<10} {'pairs':>6}  {'accuracy ± std':<17}  {'TAR@FAR=1e-3':<12}  {'XNorm':>7}"]
    for name, figures in sets.items():
        if figures["accuracy"] is None:
            lines.append(f"{name:<10} {figures['pairs']:>6.0f}  too few for the protocol")
            continue
        accuracy = f"{figures['accuracy']:.4f} ± {figures['accuracy_std']:.4f}"
        lines.append(
            f"{name:<10} {figures['pairs']:>6.0f}  {accuracy:<17}  {figures['tar']:<12.4f}  {figures['xnorm']:>7.3f}"
        )
    return "\n".join(lines)


def verdict_lines(verification: dict[str, Any]) -> list[str]:
    """The verdict in words: what flatters it, each condition with its figure, the latest blessed model's figures."""
    lines = [f"WARNING {warning}" for warning in leak_warnings(verification["leaks"])]
    lines.append("blessed" if verification["blessed"] else "NOT blessed")
    for condition in verification["conditions"]:
        state = "holds" if condition["holds"] else "FAILS"
        lines.append(f"  {state}  {condition['text']}: {_found(condition, verification)}")
    if verification["baseline"] is None:
        lines.append("  first model: no comparison, the conditions on its own figures decide")
    else:
        figures = ", ".join(
            f"{name} {_figure(values['accuracy'])}" for name, values in verification["baseline"].items()
        )
        lines.append(f"  blessed before: {figures}")
    return lines


def _found(condition: dict[str, Any], verification: dict[str, Any]) -> str:
    """What a condition's figure is, or why there is none."""
    if condition["set"] not in verification["sets"]:
        return f"no data of the set {condition['set']}"
    if condition["kind"] != "change":
        return _figure(condition["value"])
    if verification["baseline"] is None:
        return "first model: no comparison"
    if condition["difference"] is None:
        return _figure(None)
    significant = condition["value"] == condition["difference"]
    words = "" if significant else ", not significant: counts as 0"
    return f"{condition['difference']:+.4f}, McNemar p = {condition['p_value']:.2g}{words}"


def _figure(value: float | None) -> str:
    return "not defined on so few pairs" if value is None else f"{value:.4f}"
