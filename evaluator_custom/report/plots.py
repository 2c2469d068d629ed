"""The report's plots, as PNG. Blue and orange differ for the colour-blind, too (Okabe and Ito, 2008)."""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from PIL import Image
from scipy.stats import binomtest

from arcface_common.pages import shortened
from arcface_common.protocol.scored_pairs import ScoredPairs
from arcface_common.protocol.slices import SliceFigures
from arcface_common.protocol.verification_statistics import RocCurve
from trainer_module.training.curve import Point

SAME, DIFFERENT, INK, PALE = "#0072b2", "#d55e00", "#222222", "#767676"
_WIDTH, _HEIGHT = 4.4, 3.5  # inches
_DPI = 150  # 660 pixels wide: sharp at twice the 330 that a page shows it with
_CELLS = 1500  # to which a curve is rounded in either direction: more than the plot has pixels
_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titleweight": "bold",
    "font.size": 11,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "text.parse_math": False,  # two dollar signs in a value are money, no formula
}

Panel = Callable[[Axes], None]


class Plot(NamedTuple):
    """A plot as a page shows it: the PNG, words for those who don't see it, and a line below it."""

    png: bytes
    alt: str
    caption: str


def roc_png(models: Mapping[str, ScoredPairs]) -> bytes:
    """The ROC of one set, of one model or of several by name."""
    return draw(lambda axes: _roc(axes, models))


def distances_png(pairs: ScoredPairs) -> bytes:
    """Histograms of the distances of both kinds of pairs."""
    return draw(lambda axes: _distances(axes, pairs))


def folds_png(pairs: ScoredPairs) -> bytes:
    """The threshold of each fold."""
    return draw(lambda axes: _folds(axes, pairs))


def beside(pngs: Sequence[bytes]) -> bytes:
    """PNG of plots of one height beside one another, for a slide: a sixth of the time that drawing them takes."""
    pixels = np.concatenate([np.asarray(Image.open(io.BytesIO(png))) for png in pngs], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def training_plots(curve: Sequence[Point]) -> list[Plot]:
    """Loss, and share of images recognised, by step; none where the training left no curve."""
    if len(curve) < 2:
        return []
    end = f"to step {curve[-1].step:,}"
    known = "Without margin. It isn't verification: these people are known."
    return [
        Plot(draw(lambda axes: _loss(axes, curve)), f"Loss of the training, {end}", "Of each step's own batch."),
        Plot(draw(lambda axes: _top_1(axes, curve)), f"Share of training images recognised, {end}", known),
    ]


def slices_png(column: str, slices: Sequence[SliceFigures], whole: float, uncertain_below: int) -> bytes:
    """Accuracy of each slice of a column with its exact 95 % interval (Clopper and Pearson, 1934).

    Args:
      column: the attribute.
      slices: its slices whose accuracy is known, at least one, in the order in which they are shown.
      whole: accuracy of the whole set at the same threshold, 0..1.
      uncertain_below: a slice with fewer pairs is drawn pale.
    """
    return draw(lambda axes: _slices(axes, column, slices, whole, uncertain_below), height=1.3 + 0.3 * len(slices))


def draw(panel: Panel, height: float = _HEIGHT) -> bytes:
    """PNG of a plot. A figure of its own, not pyplot's: no global state, no window system."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A box stands for it in the plot; the table beside has the text itself.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained")
        panel(figure.subplots())
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)  # `savefig` draws everything twice, for the same file
    return buffer.getvalue()


def plain_labels(axis: Axis) -> None:
    """A log axis labels itself by formulas, 10^-3, which are not read here (see `_STYLE`): 0.001."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _roc(axes: Axes, models: Mapping[str, ScoredPairs]) -> None:
    bottom = 1.0
    for (name, pairs), colour, line in zip(models.items(), (SAME, DIFFERENT), ("-", "--"), strict=False):
        different = int(np.sum(~pairs.is_same))
        curve = pairs.roc
        without_false_accept = float(curve.tar[np.searchsorted(curve.far, 0, side="right") - 1])
        # On a good model all that differs is near the top; half of the axis is for what comes below.
        bottom = min(bottom, max(0.0, 2 * without_false_accept - 1.01))
        least = 0.5 / max(different, 1)
        far, tar = _outline(curve, least)
        axes.step(far, tar, line, where="post", color=colour, label=name)
    axes.set(xscale="log", xlabel="false accept rate", ylabel="true accept rate", title="ROC")
    plain_labels(axes.xaxis)
    axes.set(xlim=(0.9 * least, 1.1), ylim=(bottom, 1 + 0.02 * (1 - bottom)))
    if len(models) > 1:
        axes.legend(loc="lower right")


def _outline(curve: RocCurve, least: float) -> tuple[np.ndarray, np.ndarray]:
    """FAR and TAR of as many points as can be told apart, so that millions of pairs are drawn as fast as thousands.

    Args:
      curve: the whole curve.
      least: the FAR at which points without a false accept are drawn, above 0: a log axis has no 0.
    """
    far = np.maximum(curve.far, least)
    cells = np.round(_CELLS * np.stack([np.log(far) / np.log(least), curve.tar]))
    changes = np.any(np.diff(cells, axis=1) != 0, axis=0)
    kept = np.concatenate(([True], changes)) | np.concatenate((changes, [True]))
    return far[kept], curve.tar[kept]


def _distances(axes: Axes, pairs: ScoredPairs) -> None:
    bins = np.linspace(0, 4, 81)
    for kind, colour, name in ((True, SAME, "same person"), (False, DIFFERENT, "different people")):
        of_kind = pairs.distances[pairs.is_same == kind]
        axes.hist(of_kind, bins, histtype="stepfilled", alpha=0.5, color=colour, label=name)
    axes.axvline(pairs.threshold, ymax=0.8, color=INK, linestyle="--", label="threshold")  # below the legend
    largest = max(float(pairs.distances.max()), pairs.threshold)
    axes.set(xlabel="squared distance", ylabel="pairs", title="Distances", xlim=(0, min(4.0, largest + 0.1)))
    axes.set_ylim(top=1.25 * axes.get_ylim()[1])  # room for the legend
    axes.legend(loc="upper center", fontsize=8.5, ncols=3, columnspacing=1, handlelength=1.4)


def _folds(axes: Axes, pairs: ScoredPairs) -> None:
    thresholds = np.array(pairs.result.thresholds)
    middle = pairs.threshold
    numbers = np.arange(1, thresholds.size + 1)
    axes.axhline(middle, color=INK, linestyle="--", label="mean")
    axes.plot(numbers, thresholds, "o", color=SAME, label="fold")
    half = max(0.1, 1.3 * float(np.abs(thresholds - middle).max()))
    axes.set(xlabel="fold", ylabel="squared distance", title="Threshold of each fold", xticks=numbers)
    axes.set_ylim(middle - half, middle + half)
    axes.legend(loc="lower right", fontsize=9, ncols=2)


def _loss(axes: Axes, curve: Sequence[Point]) -> None:
    known = [(point.step, point.loss) for point in curve if point.loss is not None]
    axes.plot(*zip(*known, strict=True), color=SAME)
    axes.set(xlabel="step", ylabel="loss", title="Loss", ylim=(0, None))


def _top_1(axes: Axes, curve: Sequence[Point]) -> None:
    for field, name, colour in (("top_1", "batch", SAME), ("holdout_top_1", "held out", DIFFERENT)):
        known = [(point.step, value) for point in curve if (value := getattr(point, field)) is not None]
        if known:
            axes.plot(*zip(*known, strict=True), ".-" if len(known) < 10 else "-", color=colour, label=name)
    axes.set(xlabel="step", ylabel="share recognised", title="Training images", ylim=(0, 1.02))
    axes.legend(loc="lower right", fontsize=9)


def _slices(axes: Axes, column: str, slices: Sequence[SliceFigures], whole: float, uncertain_below: int) -> None:
    for place, of in enumerate(slices):
        accuracy = float(of.accuracy or 0)
        interval = binomtest(round(accuracy * of.pairs), of.pairs).proportion_ci(0.95)
        colour = PALE if of.pairs < uncertain_below else SAME
        axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2)
        one_kind = of.tar is None or of.far is None
        axes.plot(accuracy, place, "o", color=colour, markerfacecolor="white" if one_kind else colour)
    axes.axvline(whole, color=INK, linestyle="--", label="whole set")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_yticks(range(len(slices)), [shortened(of.value, 24) for of in slices])
    axes.set(xlabel="accuracy", title=shortened(column, 40), ylim=(len(slices) - 0.4, -0.6))
