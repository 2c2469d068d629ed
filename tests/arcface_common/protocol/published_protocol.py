"""A straight transcription of InsightFace's published protocol, for tests and benchmarks to compare ours with.

It loops over thresholds as that script does. Where the script asks SciPy for an interpolation that SciPy >= 1.9.3
refuses (a FAR occurs twice), the B-spline of degree 1 stands in that 1.6.3 to 1.8.1 built for it.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import interpolate
from sklearn.model_selection import KFold

from arcface_common.protocol.folds import FoldFigures, cut_folds, fold_figures
from arcface_common.protocol.insightface import VerificationResult

# True accepts, false accepts, true rejects, false rejects.
Confusion = tuple[int, int, int, int]
Sweep = Callable[[np.ndarray, np.ndarray, np.ndarray], list[Confusion]]


@dataclasses.dataclass(frozen=True)
class Published:
    """What the published script computes from distances."""

    accuracy: np.ndarray
    thresholds: np.ndarray
    tar: np.ndarray
    far: np.ndarray
    tar_thresholds: np.ndarray


def confusion(threshold: float, distances: np.ndarray, same: np.ndarray) -> Confusion:
    """The counts of one threshold."""
    accepted = np.less(distances, threshold)
    true_accepts = np.sum(np.logical_and(accepted, same))
    false_accepts = np.sum(np.logical_and(accepted, np.logical_not(same)))
    true_rejects = np.sum(np.logical_and(np.logical_not(accepted), np.logical_not(same)))
    false_rejects = np.sum(np.logical_and(np.logical_not(accepted), same))
    return int(true_accepts), int(false_accepts), int(true_rejects), int(false_rejects)


def loop_sweep(thresholds: np.ndarray, distances: np.ndarray, same: np.ndarray) -> list[Confusion]:
    """One threshold after the other, as published: 2 s for a whole evaluation of 6,000 pairs."""
    return [confusion(threshold, distances, same) for threshold in thresholds]


def table_sweep(thresholds: np.ndarray, distances: np.ndarray, same: np.ndarray) -> list[Confusion]:
    """The same from one table [T, N]: quick enough for hundreds of small examples."""
    accepted = distances[None, :] < thresholds[:, None]
    true_accepts, false_accepts = accepted[:, same].sum(axis=1), accepted[:, ~same].sum(axis=1)
    counts = (true_accepts, false_accepts, np.sum(~same) - false_accepts, np.sum(same) - true_accepts)
    return list(zip(*(count.tolist() for count in counts), strict=True))


def rate(count: int, total: int) -> float:
    """A rate, 0 where nothing is counted."""
    return 0 if total == 0 else float(count) / float(total)


def scipy_inverse(rates: np.ndarray, thresholds: np.ndarray, target: float) -> float:
    """Threshold of a FAR by SciPy, or by what SciPy 1.6.3 to 1.8.1 made of a repeated FAR without refusing it."""
    if np.all(np.diff(rates) > 0):
        return float(interpolate.interp1d(rates, thresholds, kind="slinear")(target))
    knots = np.concatenate((rates[:1], rates, rates[-1:]))
    return float(interpolate.BSpline.construct_fast(knots, thresholds, 1)(target))


def published(
    distances: np.ndarray,
    same: np.ndarray,
    folds: int = 10,
    far_target: float = 1e-3,
    sweep: Sweep = loop_sweep,
) -> Published:
    """Transcription of the published protocol."""
    coarse, fine = np.arange(0, 4, 0.01), np.arange(0, 4, 0.001)
    result = Published(*(np.zeros(folds) for _ in range(5)))
    for fold, (train, test) in enumerate(KFold(n_splits=folds, shuffle=False).split(np.arange(len(same)))):
        accuracies = [(tp + tn) / train.size for tp, _, tn, _ in sweep(coarse, distances[train], same[train])]
        sweep(coarse, distances[test], same[test])  # the script averages these into a ROC that it does not report
        result.thresholds[fold] = coarse[np.argmax(accuracies)]
        tp, _, tn, _ = confusion(result.thresholds[fold], distances[test], same[test])
        result.accuracy[fold] = (tp + tn) / test.size
        rates = np.array([rate(fp, fp + tn) for _, fp, tn, _ in sweep(fine, distances[train], same[train])])
        threshold = scipy_inverse(rates, fine, far_target) if np.max(rates) >= far_target else 0.0
        tp, fp, tn, fn = confusion(threshold, distances[test], same[test])
        result.tar[fold], result.far[fold] = rate(tp, tp + fn), rate(fp, fp + tn)
        result.tar_thresholds[fold] = threshold
    return result


def fold_by_fold(distances: np.ndarray, same: np.ndarray, folds: int = 10, far_target: float = 1e-3) -> FoldFigures:
    """Ours, whatever the pairs can bear."""
    return fold_figures(distances, same, cut_folds(same, folds), (far_target,))


def assert_folds_equal(ours: FoldFigures, theirs: Published) -> None:
    """To the last bit."""
    assert ours.accuracies == theirs.accuracy.tolist()
    assert ours.thresholds == theirs.thresholds.tolist()
    rates = ours.rates[0]
    assert rates.tar == theirs.tar.tolist()
    assert rates.far == theirs.far.tolist()
    assert rates.thresholds == theirs.tar_thresholds.tolist()


def assert_equal(ours: VerificationResult, theirs: Published) -> None:
    """To the last bit, of a set that can bear every figure."""
    assert ours.accuracies == tuple(theirs.accuracy)
    assert ours.accuracy == np.mean(theirs.accuracy)
    assert ours.accuracy_std == np.std(theirs.accuracy)
    assert ours.thresholds == tuple(theirs.thresholds)
    assert ours.threshold == np.mean(theirs.thresholds)
    assert ours.threshold_std == np.std(theirs.thresholds)
    assert (ours.tar, ours.tar_std, ours.far) == (np.mean(theirs.tar), np.std(theirs.tar), np.mean(theirs.far))
    assert ours.tar_threshold == np.mean(theirs.tar_thresholds)


def faces(pairs: int = 6000, seed: int = 0, block: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Distances and truth as of a middling model, in LFW's order: `block` pairs of one kind, then of the other."""
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) // block % 2 == 0
    distances = np.where(same, rng.normal(0.9, 0.3, pairs), rng.normal(1.9, 0.25, pairs))
    return np.clip(distances, 0, 4), same
