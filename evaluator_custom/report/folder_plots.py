"""The plots of a report on folders of faces, as PNG."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from evaluator_custom.report.plots import DIFFERENT, INK, SAME, draw, plain_labels

_CELLS = 1500  # to which a curve is rounded in either direction: more than the plot has pixels


def det_png(title: str, names: tuple[str, str], rates: tuple[np.ndarray, np.ndarray], trials: tuple[int, int]) -> bytes:
    """Detection error tradeoff: both errors on logarithmic axes, as A. Martin et al. (1997) and NIST draw it.

    Args:
      title: of the plot.
      names: of the rate of false positives, and of that of misses.
      rates: both at each threshold, float [K] each, 0..1, the first rising, the second falling.
      trials: over which each was counted; half an error is drawn where there is none, since a log axis has no 0.
    """
    return draw(lambda axes: _det(axes, title, names, rates, trials))


def rank_png(rates: np.ndarray) -> bytes:
    """Cumulative match characteristic: share found among the K best, float [N], for K from 1."""
    return draw(lambda axes: _ranks(axes, rates))


def gallery_size_png(sizes: np.ndarray, rates: Mapping[str, np.ndarray]) -> bytes:
    """FPIR by number of identities in the gallery, int [S]; a line for each threshold: label -> float [S].

    NaN is not drawn.
    """
    return draw(lambda axes: _sizes(axes, sizes, rates))


def _det(
    axes: Axes, title: str, names: tuple[str, str], rates: tuple[np.ndarray, np.ndarray], trials: tuple[int, int]
) -> None:
    least = 0.5 / np.array(trials)[:, np.newaxis]
    points = np.maximum(rates, least)
    # Millions of points are drawn as fast as thousands: those that can be told apart.
    cells = np.round(_CELLS * np.log(points) / np.log(least))
    changes = np.any(np.diff(cells, axis=1) != 0, axis=0)
    x, y = points[:, np.concatenate(([True], changes)) | np.concatenate((changes, [True]))]
    axes.step(x, y, where="post", color=SAME)
    axes.set(xscale="log", yscale="log", xlabel=names[0], ylabel=names[1], title=title)
    axes.set(xlim=(0.9 * least[0, 0], 1.1), ylim=(0.9 * max(least[1, 0], float(y.min())), 1.1))
    plain_labels(axes.xaxis)
    plain_labels(axes.yaxis)


def _ranks(axes: Axes, rates: np.ndarray) -> None:
    axes.step(np.arange(1, rates.size + 1), rates, where="post", color=SAME)
    bottom = max(0.0, 2 * float(rates[0]) - 1.01)
    axes.set(xscale="log", xlabel="rank", ylabel="share found up to it", title="Cumulative match characteristic")
    axes.set(xlim=(0.9, max(2, rates.size)), ylim=(bottom, 1 + 0.02 * (1 - bottom)))
    plain_labels(axes.xaxis)


def _sizes(axes: Axes, sizes: np.ndarray, rates: Mapping[str, np.ndarray]) -> None:
    for (label, values), colour, line in zip(rates.items(), (SAME, DIFFERENT, INK), (".-", ".--", ".:"), strict=False):
        axes.plot(sizes, values, line, color=colour, label=label)
    axes.set(
        xscale="log", yscale="log", xlabel="identities in the gallery", ylabel="FPIR", title="Strangers, by gallery"
    )
    plain_labels(axes.xaxis)
    plain_labels(axes.yaxis)
    axes.legend(loc="upper left", fontsize=9)
