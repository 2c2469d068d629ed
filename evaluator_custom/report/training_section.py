"""What the report says about where its figures come from: facts, and the curve of the training."""

from collections.abc import Mapping, Sequence

from evaluator_custom.report import plots
from evaluator_custom.report.markup import plot, row_of, section, table
from trainer_module.training.curve import Point


def training_section(facts: Mapping[str, str], curve: Sequence[Point], anchor: str) -> str:
    """A table of the facts, and loss and top-1 accuracy by step, where the training left them.

    Args:
      facts: by a short name each.
      curve: of the training; empty where none is known.
      anchor: of the heading.
    """
    parts = [table("Where these figures come from", (), facts.items(), kind="facts")]
    if len(curve) > 1:
        end = f"to step {curve[-1].step:,}"
        known = "Without margin. It isn't verification: these people are known."
        parts.append(
            row_of(
                plot(plots.loss_png(curve), f"Loss of the training, {end}", "Of each step's own batch."),
                plot(plots.top_1_png(curve), f"Share of training images recognised, {end}", known),
            )
        )
    return section(anchor, "Model and data", *parts)
