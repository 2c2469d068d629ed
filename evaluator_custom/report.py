"""One self-contained HTML page about a model's verification: figures, curves, and the pairs it gets most wrong."""

import base64
import dataclasses
import html
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np

from evaluator_custom import protocol
from evaluator_custom.verification_statistics import FAR_TARGETS, roc_curve
from trainer_module.features import IMAGE_MAGICS

matplotlib.use("Agg")  # draws to memory: there may be no screen
from matplotlib import pyplot as plt  # noqa: E402 - the backend is chosen before

_WORST = 20
_SAME, _DIFFERENT = "#1f7a4d", "#b3402a"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .25em .8em; text-align: right }
th { border-bottom: 2px solid #222 } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) td { background: #f4f4f4 } img.plot { max-width: 100% } .muted { color: #777 }
.pairs { display: flex; flex-wrap: wrap; gap: .8em } .pairs figure { margin: 0 } .pairs img { width: 84px }
figcaption { font-size: 12px; color: #555; text-align: center }
"""


@dataclasses.dataclass(frozen=True)
class EvaluatedSet:
    """A verification set and what a model makes of it.

    Attributes:
      name: e.g. "lfw".
      result: the protocol's figures.
      distances: squared distances, float64 [N].
      is_same: bool [N].
      images: 2N encoded images; pair i is images 2i and 2i + 1.
    """

    name: str
    result: protocol.VerificationResult
    distances: np.ndarray
    is_same: np.ndarray
    images: Sequence[bytes]


def write_report(path: str | os.PathLike[str], sets: Sequence[EvaluatedSet], facts: dict[str, str]) -> None:
    """Writes the page, and each set's plot beside it as `<page>-<set>.png`; each aside first, then renamed.

    The page shows images of the verification sets: it is as confidential as they are.

    Args:
      path: the HTML file.
      sets: at least one.
      facts: what the page says about model, data and settings, in this order.
    """
    page = Path(path)
    page.parent.mkdir(parents=True, exist_ok=True)
    plots = {evaluated.name: _plot(evaluated) for evaluated in sets}
    for name, plot in plots.items():
        _write(page.with_name(f"{page.stem}-{name}.png"), plot)
    title = f"Face verification: {facts.get('model', page.stem)}"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        _table(("", ""), facts.items()),
        "<h2>Figures</h2>",
        _figures(sets),
        *(_section(evaluated, plots[evaluated.name]) for evaluated in sets),
        _LIMITS,
    ]
    document = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )
    _write(page, document.encode())


_LIMITS = """<h2>What this does and doesn't say</h2>
<p>The figures are InsightFace's 10-fold protocol on pairs of aligned faces: embedding of the image plus that of its
mirror, threshold chosen on nine folds. They hold for faces like those of the sets, aligned the same way. They say
nothing about searching a gallery, about groups of people that the sets hardly show, or about attacks. A threshold for
use wants pairs from where it is used. Sets that share people or images with the training data flatter a model.</p>"""


def _write(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(content)
    aside.replace(path)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; all text is escaped."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + (line(head, "th") if any(head) else "") + "".join(line(row, "td") for row in rows) + "</table>"


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _figures(sets: Sequence[EvaluatedSet]) -> str:
    head = ("set", "pairs", "accuracy ± std", "95 % interval", "TAR@FAR=1e-3", "EER", "AUC", "XNorm", "threshold ± std")
    rows = []
    for evaluated in sets:
        r = evaluated.result
        rows.append(
            (
                evaluated.name,
                str(r.pairs),
                f"{r.accuracy:.4f} ± {r.accuracy_std:.4f}",
                f"{r.accuracy_ci[0]:.4f} … {r.accuracy_ci[1]:.4f}",
                f"{r.tar:.4f} ± {r.tar_std:.4f}",
                _number(r.eer),
                _number(r.auc),
                _number(r.xnorm, 3),
                f"{r.threshold:.3f} ± {r.threshold_std:.3f}",
            )
        )
    return _table(head, rows)


def _section(evaluated: EvaluatedSet, plot: bytes) -> str:
    """Curves, thresholds and worst pairs of one set."""
    wrong = ~evaluated.result.correct
    accepts = np.flatnonzero(wrong & ~evaluated.is_same)
    rejects = np.flatnonzero(wrong & evaluated.is_same)
    accepts = accepts[np.argsort(evaluated.distances[accepts], kind="stable")]
    rejects = rejects[np.argsort(-evaluated.distances[rejects], kind="stable")]
    return (
        f"<h2>{html.escape(evaluated.name)}</h2>"
        f'<img class="plot" alt="ROC, distances and fold thresholds" src="{_data_uri(plot)}">'
        f"<h3>Thresholds for a wanted false accept rate</h3>{_thresholds(evaluated)}"
        f"<h3>Worst false accepts ({len(accepts)} in all)</h3>{_pairs(evaluated, accepts[:_WORST])}"
        f"<h3>Worst false rejects ({len(rejects)} in all)</h3>{_pairs(evaluated, rejects[:_WORST])}"
    )


def _thresholds(evaluated: EvaluatedSet) -> str:
    """Threshold and TAR by FAR, a dash where the set has too few pairs of different people to tell."""
    impostors = evaluated.distances[~evaluated.is_same]
    rows = []
    for far in FAR_TARGETS:
        tar = evaluated.result.tar_at_far.get(far)
        known = tar is not None
        threshold = protocol.far_threshold(impostors, far) if known else None
        cosine = None if threshold is None else 1 - threshold / 2
        rows.append((f"{far:g}", _number(threshold, 3), _number(cosine, 3), _number(tar)))
    return _table(("FAR", "squared distance below", "cosine above", "TAR"), rows)


def _pairs(evaluated: EvaluatedSet, indices: np.ndarray) -> str:
    if not len(indices):
        return '<p class="muted">none</p>'
    figures = []
    for index in indices.tolist():
        images = "".join(f'<img alt="" src="{_data_uri(evaluated.images[2 * index + side])}">' for side in (0, 1))
        caption = f"pair {index}, distance {evaluated.distances[index]:.3f}"
        figures.append(f"<figure>{images}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="pairs">{"".join(figures)}</div>'


def _data_uri(image: bytes) -> str:
    kind = "jpeg" if image.startswith(IMAGE_MAGICS[0]) else "png"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _plot(evaluated: EvaluatedSet) -> bytes:
    """PNG of three panels: ROC on a logarithmic FAR axis, both kinds' distances, each fold's threshold."""
    figure, (roc, histogram, folds) = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    curve = roc_curve(evaluated.distances, evaluated.is_same)
    different = int(np.sum(~evaluated.is_same))
    roc.step(np.maximum(curve.far, 0.3 / max(different, 1)), curve.tar, where="post", color="#222")
    without_false_accept = curve.tar[np.searchsorted(curve.far, 0, side="right") - 1]
    bottom = max(0.0, float(without_false_accept) - 0.1)  # on a good model, all that differs is above
    roc.set(xscale="log", xlabel="false accept rate", ylabel="true accept rate", title="ROC", ylim=(bottom, 1.01))
    roc.grid(alpha=0.3)

    bins = np.linspace(0, 4, 81)
    histogram.hist(evaluated.distances[evaluated.is_same], bins, alpha=0.7, color=_SAME, label="same person")
    histogram.hist(evaluated.distances[~evaluated.is_same], bins, alpha=0.7, color=_DIFFERENT, label="different people")
    histogram.axvline(evaluated.result.threshold, color="#222", linestyle="--", label="threshold")
    histogram.set(xlabel="squared distance", ylabel="pairs", title="Distances")
    histogram.legend()

    numbers = np.arange(1, len(evaluated.result.thresholds) + 1)
    folds.plot(numbers, evaluated.result.thresholds, "o", color="#222")
    folds.set(xlabel="fold", ylabel="threshold", title="Threshold of each fold", xticks=numbers)
    folds.set_ylim(evaluated.result.threshold - 0.2, evaluated.result.threshold + 0.2)
    folds.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()
