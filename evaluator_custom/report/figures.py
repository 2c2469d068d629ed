"""The report's first part: the figures of all sets."""

from collections.abc import Sequence

from evaluator_custom.protocol.scored_pairs import ScoredPairs
from evaluator_custom.protocol.support import reason_lines
from evaluator_custom.report.markup import DASH, number, paragraph, percent, section, table
from evaluator_custom.report.text import in_html

_READING = """<details><summary>How to read this</summary><dl>
<dt>accuracy</dt><dd>Share of pairs judged correctly: mean over ten folds, each judged at the threshold that was best
on the other nine; ± is the spread over the folds, the interval what chance alone would make of it.</dd>
<dt>TAR, FAR</dt><dd>True accept rate: share of the pairs of one person that are accepted. False accept rate: share of
the pairs of different people that are accepted.</dd>
<dt>EER, AUC</dt><dd>Equal error rate: where false accepts and false rejects are as frequent. Area under the ROC.</dd>
<dt>XNorm</dt><dd>Mean length of the raw embeddings. It falls where images are fed in a wrong way.</dd>
<dt>threshold</dt><dd>Squared distance (0 to 4) of two embeddings of length 1, below which two faces count as one
person. Their cosine is 1 less half of it.</dd></dl></details>"""


def figures_section(sets: Sequence[ScoredPairs], anchor: str) -> str:
    """Accuracy in large, all figures in a table, and what they mean.

    Args:
      sets: the sets.
      anchor: of the heading.
    """
    cards = []
    for pairs in sets:
        result = pairs.result
        shown, words = DASH, f"{result.pairs:,} pairs; {result.undefined.get('accuracy', '')}"
        if result.accuracy is not None and result.accuracy_ci is not None:
            low, high = result.accuracy_ci
            shown = percent(result.accuracy)
            words = f"of {result.pairs:,} pairs right; 95 % interval {100 * low:.2f} to {percent(high)}"
        cards.append(f"<li><span>{in_html(pairs.name)}</span><b>{shown}</b><span>{in_html(words)}</span></li>")
    return section(anchor, "Figures", f'<ul class="cards">{"".join(cards)}</ul>', _table(sets), _READING)


def _table(sets: Sequence[ScoredPairs]) -> str:
    targets = sorted({percent(pairs.result.far_target) for pairs in sets})
    tar = f"TAR at FAR {' or '.join(targets)}"
    shown = {
        "accuracy": "accuracy",
        "accuracy_ci": "interval",
        "tar_1e2": "TAR at FAR 1 %",
        "tar": tar,
        "eer": "EER",
        "auc": "AUC",
        "xnorm": "XNorm",
        "threshold": "threshold",
    }
    rates = ("TAR at FAR 1 %", f"{tar} ± std", "EER", "AUC", "XNorm")
    head = ("set", "pairs", "accuracy ± std", "95 % interval", *rates, "threshold ± std")
    rows = []
    for pairs in sets:
        r = pairs.result
        rows.append(
            (
                pairs.name,
                f"{r.pairs:,}",
                _spread(r.accuracy, r.accuracy_std),
                DASH if r.accuracy_ci is None else f"{r.accuracy_ci[0]:.4f} … {r.accuracy_ci[1]:.4f}",
                number(r.tar_1e2),
                _spread(r.tar, r.tar_std),
                number(r.eer),
                number(r.auc),
                number(r.xnorm, 3),
                _spread(r.threshold, r.threshold_std, 3),
            )
        )
    reasons = reason_lines({pairs.name: pairs.result.undefined for pairs in sets}, shown)
    dashes = "".join(paragraph(f"{DASH} {line}", "muted") for line in reasons)
    return table("10-fold verification", head, rows) + dashes


def _spread(mean: float | None, std: float | None, digits: int = 4) -> str:
    return DASH if mean is None else f"{number(mean, digits)} ± {number(std, digits)}"
