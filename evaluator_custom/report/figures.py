"""The report's first part: the figures of all sets."""

from collections.abc import Sequence
from html import escape

from evaluator_custom.report.evaluated_set import EvaluatedSet
from evaluator_custom.report.markup import number, percent, section, table

_READING = """<details><summary>How to read this</summary><dl>
<dt>accuracy</dt><dd>Share of pairs judged correctly: mean over ten folds, each judged at the threshold that was best
on the other nine; ± is the spread over the folds, the interval what chance alone would make of it.</dd>
<dt>TAR, FAR</dt><dd>True accept rate: share of the pairs of one person that are accepted. False accept rate: share of
the pairs of different people that are accepted.</dd>
<dt>EER, AUC</dt><dd>Equal error rate: where false accepts and false rejects are as frequent. Area under the ROC.</dd>
<dt>XNorm</dt><dd>Mean length of the raw embeddings. It falls where images are fed in a wrong way.</dd>
<dt>threshold</dt><dd>Squared distance (0 to 4) of two embeddings of length 1, below which two faces count as one
person. Their cosine is 1 less half of it.</dd></dl></details>"""


def figures_section(sets: Sequence[EvaluatedSet], anchor: str) -> str:
    """Accuracy in large, all figures in a table, and what they mean.

    Args:
      sets: the sets.
      anchor: of the heading.
    """
    cards = []
    for evaluated in sets:
        low, high = evaluated.result.accuracy_ci
        cards.append(
            f"<li><span>{escape(evaluated.name)}</span><b>{percent(evaluated.result.accuracy)}</b>"
            f"<span>of {evaluated.result.pairs:,} pairs right; "
            f"95 % interval {100 * low:.2f} to {percent(high)}</span></li>"
        )
    return section(anchor, "Figures", f'<ul class="cards">{"".join(cards)}</ul>', _table(sets), _READING)


def _table(sets: Sequence[EvaluatedSet]) -> str:
    head = ("set", "pairs", "accuracy ± std", "95 % interval", "TAR ± std", "EER", "AUC", "XNorm", "threshold ± std")
    rows = []
    for evaluated in sets:
        r = evaluated.result
        rows.append(
            (
                evaluated.name,
                f"{r.pairs:,}",
                f"{r.accuracy:.4f} ± {r.accuracy_std:.4f}",
                f"{r.accuracy_ci[0]:.4f} … {r.accuracy_ci[1]:.4f}",
                f"{r.tar:.4f} ± {r.tar_std:.4f}",
                number(r.eer),
                number(r.auc),
                number(r.xnorm, 3),
                f"{r.threshold:.3f} ± {r.threshold_std:.3f}",
            )
        )
    targets = sorted({percent(evaluated.result.far_target) for evaluated in sets})
    return table(f"10-fold verification; TAR at a FAR of {' or '.join(targets)}", head, rows)
