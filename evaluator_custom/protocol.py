"""InsightFace's face verification protocol, to the digit, without its loops over thresholds.

What is measured: an image's embedding plus that of its mirror, L2-normalised; squared Euclidean distance of the two
images of a pair; `distance < threshold` says "same person". Folds are cut in file order, so callers that got pairs from
a shuffle sort by pair index first. Source: `recognition/arcface_torch/eval/verification.py` of deepinsight/insightface
(after D. Sandberg's facenet), and G. Huang et al., "Labeled Faces in the Wild", 2007, for the ten folds.

Two points in which that script depends on its surroundings, and what holds here:

- **Precision.** It collects the network's float32 outputs in a float64 array and computes in float64 from there on.
  So do we; float32 arithmetic moves distances by up to 5e-7 (on LFW), which shows wherever one lies on a threshold.
- **Repeated FAR values.** It inverts FAR(threshold) by SciPy's `interp1d(kind="slinear")`. 4,000 thresholds nearly
  always repeat a FAR. SciPy 1.9.3 and later refuse that ("Expect x to not have duplicates"), so the script stops. SciPy
  1.6.3 to 1.8.1 interpolate between the last threshold at or below the target and the first above it, as every SciPy
  does where no FAR repeats: that is what is computed here, to the digit. (Up to 1.5.4 an unstable sort shuffles the
  thresholds of equal FAR, which moved one fold's threshold on LFW by 0.1.) One exception: where the largest FAR equals
  the target and repeats, SciPy gives 0, an accident of a segment of length 0; we give the last threshold, as it does
  where that FAR does not repeat.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from evaluator_custom.verification_statistics import (
    ProtocolError,
    bootstrap_accuracy,
    checked_distances,
    checked_flags,
    describe_indices,
    roc_curve,
    tar_at_far,
)

# Entries are the products i * 0.01 of the source, not the nearest decimals: the one for 0.57 is 0.5700000000000001.
ACCURACY_THRESHOLDS = np.arange(0, 4, 0.01)
FAR_THRESHOLDS = np.arange(0, 4, 0.001)


@dataclasses.dataclass(frozen=True)
class VerificationResult:
    """What the protocol says about one model on one set of N pairs. All rates are 0..1, all spreads population std.

    Attributes:
      pairs: N.
      accuracy: mean over folds of the accuracy at the threshold that was best on the other folds.
      accuracy_std: its spread over folds.
      accuracy_ci: 95 % bootstrap interval of the share of correct pairs (`bootstrap_accuracy`).
      accuracies: accuracy of each fold.
      thresholds: threshold of each fold, on squared distance, 0..3.99.
      threshold: their mean, the one to ship.
      threshold_std: their spread.
      best_threshold: threshold that is best on all pairs at once, 0..3.99; with PCA, on the distances before it.
      far_target: the false accept rate aimed at.
      tar: mean over folds of the true accept rate at the threshold that meets `far_target` on the other folds.
      tar_std: its spread over folds.
      far: mean over folds of the false accept rate at the same thresholds.
      tar_threshold: mean of those thresholds, 0..4.
      auc: area under the ROC of all pairs; None where all pairs are of one kind.
      eer: equal error rate of all pairs; None where all pairs are of one kind.
      tar_at_far: TAR of all pairs by FAR, 1e-2 to 1e-6; None where the set is too small to tell.
      xnorm: mean length of the raw embeddings, image and mirror; None where no norms were given.
      correct: bool [N], read-only: whether each pair was judged correctly at its own fold's threshold.
    """

    pairs: int
    accuracy: float
    accuracy_std: float
    accuracy_ci: tuple[float, float]
    accuracies: tuple[float, ...]
    thresholds: tuple[float, ...]
    threshold: float
    threshold_std: float
    best_threshold: float
    far_target: float
    tar: float
    tar_std: float
    far: float
    tar_threshold: float
    auc: float | None
    eer: float | None
    tar_at_far: dict[float, float | None]
    xnorm: float | None
    correct: np.ndarray = dataclasses.field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows.

        FAR targets become keys such as "0.001", and `correct` becomes `wrong_pairs`, the indices it is false at: a few
        dozen numbers for a good model, from which `correct` can be made again.
        """
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "correct"}
        for name in ("accuracy_ci", "accuracies", "thresholds"):
            values[name] = list(values[name])
        values["tar_at_far"] = {f"{far:g}": tar for far, tar in self.tar_at_far.items()}
        values["wrong_pairs"] = np.flatnonzero(~self.correct).tolist()
        return values


def pair_distances(embeddings: npt.ArrayLike, mirrored: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance and mean raw length of each pair. Pairs do not influence each other, so batches may be any size.

    Args:
      embeddings: raw (not normalised) embeddings, float [2N, D]; rows 2i and 2i + 1 are pair i.
      mirrored: the same of the mirrored images.

    Returns:
      Squared distances, float64 [N], 0..4, and the mean of each pair's four raw lengths, float64 [N], whose mean over
      all pairs is XNorm. An embedding that its mirror cancels stays the zero vector.

    Raises:
      ProtocolError: shapes that differ or are no [2N, D], or embeddings that are not finite (naming the pairs).
    """
    embeddings, mirrored = _checked_embeddings(embeddings), _checked_embeddings(mirrored, "mirrored")
    unit = _fuse(embeddings, mirrored)
    lengths = np.linalg.norm(embeddings, axis=1) + np.linalg.norm(mirrored, axis=1)
    return _squared_distances(unit), lengths.reshape(-1, 2).sum(axis=1) / 4


def evaluate(
    distances: npt.ArrayLike,
    is_same: npt.ArrayLike,
    norms: npt.ArrayLike | None = None,
    *,
    folds: int = 10,
    far_target: float = 1e-3,
) -> VerificationResult:
    """Runs the protocol on distances. 6,000 pairs take 2 ms.

    A set of pairs of one kind only is allowed: rates over the missing kind are 0, as in the source's accuracy.

    Args:
      distances: squared distances in file order, float [N], 0..4.
      is_same: bool [N] (or 0 and 1), whether pair i shows one person.
      norms: mean raw length of each pair's embeddings, float [N], as `pair_distances` gives them.
      folds: number of folds, 2..N; the first N % folds hold one pair more.
      far_target: false accept rate at which TAR is measured, above 0 and at most 1.

    Returns:
      The result.

    Raises:
      ProtocolError: fewer pairs than folds, lengths that differ, values that are not finite or out of range.
    """
    distances = checked_distances(distances)
    fold_of = _folds(distances.size, folds)
    # The same distances for every fold; only PCA makes them differ.
    return _evaluate((distances for _ in range(folds)), distances, fold_of, is_same, norms, far_target)


def evaluate_embeddings(
    embeddings: npt.ArrayLike,
    mirrored: npt.ArrayLike,
    is_same: npt.ArrayLike,
    *,
    pca: int = 0,
    folds: int = 10,
    far_target: float = 1e-3,
) -> VerificationResult:
    """Runs the protocol on raw embeddings.

    With `pca`, accuracy, thresholds and `correct` come from distances after a PCA that is fitted on the other folds'
    normalised embeddings, followed by a second normalisation. All else (TAR, ROC, EER, best threshold) stays without
    it, as in the source.

    Args:
      embeddings: raw (not normalised) embeddings, float [2N, D]; rows 2i and 2i + 1 are pair i.
      mirrored: the same of the mirrored images.
      is_same: bool [N] (or 0 and 1).
      pca: components to keep, 1..D; 0 for no PCA.
      folds: see `evaluate`.
      far_target: see `evaluate`.

    Returns:
      The result, `xnorm` included.

    Raises:
      ProtocolError: as `pair_distances` and `evaluate`, or `pca` out of range.
    """
    embeddings, mirrored = _checked_embeddings(embeddings), _checked_embeddings(mirrored, "mirrored")
    distances, norms = pair_distances(embeddings, mirrored)
    if not pca:
        return evaluate(distances, is_same, norms, folds=folds, far_target=far_target)
    fold_of = _folds(distances.size, folds)
    # Fold 0 is the largest, so its training part has the fewest rows to fit on.
    most = min(embeddings.shape[1], 2 * int(np.sum(fold_of != 0)))
    if not 0 < pca <= most:
        raise ProtocolError(f"Expected pca in 0..{most}. Received: pca={pca}")
    unit = _fuse(embeddings, mirrored)
    reduced = (_pca_distances(unit, fold_of != fold, pca) for fold in range(folds))
    return _evaluate(reduced, distances, fold_of, is_same, norms, far_target)


def best_threshold(distances: np.ndarray, is_same: np.ndarray) -> float:
    """The threshold of 0, 0.01 … 3.99 of highest accuracy, the smallest of equals.

    Args:
      distances: squared distances, float64 [N].
      is_same: bool [N].

    Returns:
      The threshold; 0 on an empty set.
    """
    # Accuracy is (true accepts + different pairs - false accepts) / N, so the difference of accepts ranks thresholds.
    gain = _accepts(distances[is_same], ACCURACY_THRESHOLDS) - _accepts(distances[~is_same], ACCURACY_THRESHOLDS)
    return float(ACCURACY_THRESHOLDS[np.argmax(gain)])


def far_threshold(distances: np.ndarray, far_target: float) -> float:
    """The threshold at which pairs of different people are accepted at a given rate, between steps of 0.001.

    Args:
      distances: squared distances of pairs of different people, float64 [N].
      far_target: false accept rate, above 0 and at most 1.

    Returns:
      The threshold, interpolated linearly in FAR between the last step whose FAR is at most the target and the first
      whose FAR is above it; that last step itself if none is above; 0 (nothing is accepted) where FAR never reaches
      the target or there are no pairs.
    """
    rates = _accepts(distances, FAR_THRESHOLDS) / max(distances.size, 1)
    if rates[-1] < far_target:
        return 0.0
    above = int(np.searchsorted(rates, far_target, side="right"))
    if above == rates.size:
        return float(FAR_THRESHOLDS[-1])
    # Weights in the order of a B-spline of degree 1, which SciPy evaluates here: the shorter forms of the same line
    # differ in the last digit, and a pair that lies on the threshold would change sides.
    weight = 1.0 / (rates[above] - rates[above - 1])
    lower = FAR_THRESHOLDS[above - 1] * (weight * (rates[above] - far_target))
    return float(lower + FAR_THRESHOLDS[above] * (weight * (far_target - rates[above - 1])))


def _evaluate(
    fold_distances: Iterable[np.ndarray],
    distances: np.ndarray,
    fold_of: np.ndarray,
    is_same: npt.ArrayLike,
    norms: npt.ArrayLike | None,
    far_target: float,
) -> VerificationResult:
    """The protocol, with `fold_distances` (one float64 [N] a fold) for accuracy and `distances` for all else."""
    same = checked_flags(is_same, distances.size, "is_same")
    lengths = None if norms is None else _checked_norms(norms, distances.size)
    if not 0 < far_target <= 1:
        raise ProtocolError(f"Expected far_target above 0 and at most 1. Received: far_target={far_target}")
    thresholds, accuracies, tars, fars, tar_thresholds = [], [], [], [], []
    correct = np.zeros(distances.size, dtype=bool)
    for fold, own in enumerate(fold_distances):
        test = fold_of == fold
        thresholds.append(best_threshold(own[~test], same[~test]))
        correct[test] = (own[test] < thresholds[-1]) == same[test]
        accuracies.append(float(np.mean(correct[test])))
        tar_thresholds.append(far_threshold(distances[~test & ~same], far_target))
        tars.append(_rate_below(distances[test & same], tar_thresholds[-1]))
        fars.append(_rate_below(distances[test & ~same], tar_thresholds[-1]))
    correct.flags.writeable = False
    curve = roc_curve(distances, same)
    return VerificationResult(
        pairs=distances.size,
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies)),
        accuracy_ci=bootstrap_accuracy(correct),
        accuracies=tuple(accuracies),
        thresholds=tuple(thresholds),
        threshold=float(np.mean(thresholds)),
        threshold_std=float(np.std(thresholds)),
        best_threshold=best_threshold(distances, same),
        far_target=far_target,
        tar=float(np.mean(tars)),
        tar_std=float(np.std(tars)),
        far=float(np.mean(fars)),
        tar_threshold=float(np.mean(tar_thresholds)),
        auc=curve.auc(),
        eer=curve.eer(),
        tar_at_far=tar_at_far(distances, same),
        xnorm=None if lengths is None else float(np.mean(lengths)),
        correct=correct,
    )


def _accepts(distances: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Number of distances strictly below each threshold, int64 [T]: side "left" leaves equal ones out."""
    return np.searchsorted(np.sort(distances), thresholds, side="left")


def _rate_below(distances: np.ndarray, threshold: float) -> float:
    """Share of the distances strictly below the threshold, 0 where there are none."""
    return int(np.sum(distances < threshold)) / max(distances.size, 1)


def _folds(pairs: int, folds: int) -> np.ndarray:
    """Fold of each pair, int64 [N]: blocks in file order, as scikit-learn's KFold cuts them without shuffling."""
    if not 2 <= folds <= pairs:
        raise ProtocolError(f"Expected at least 2 folds and as many pairs. Received: folds={folds}, pairs={pairs}")
    sizes = np.full(folds, pairs // folds)
    sizes[: pairs % folds] += 1
    return np.repeat(np.arange(folds), sizes)


def _fuse(embeddings: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Unit vectors of image plus mirror, float64 [2N, D]; a zero sum stays zero."""
    if embeddings.shape != mirrored.shape:
        raise ProtocolError(
            f"Expected embeddings and mirrored of one shape. Received: {embeddings.shape} and {mirrored.shape}"
        )
    return normalize(embeddings + mirrored)


def _squared_distances(unit: np.ndarray) -> np.ndarray:
    """Squared distance of rows 2i and 2i + 1 of float64 [2N, D], float64 [N]."""
    return np.sum(np.square(unit[0::2] - unit[1::2]), axis=1)


def _pca_distances(unit: np.ndarray, train: np.ndarray, components: int) -> np.ndarray:
    """Distances, float64 [N], after PCA on the images of the training pairs (bool [N]) and normalisation."""
    # The eigenvectors of the covariance are exact, 11 times faster than an SVD at 10,800 x 512, and what scikit-learn
    # chooses by itself at that shape; for smaller sets it chooses a randomised solver, which differs from run to run.
    model = PCA(n_components=components, svd_solver="covariance_eigh").fit(unit[np.repeat(train, 2)])
    return _squared_distances(normalize(model.transform(unit)))


def _checked_embeddings(embeddings: npt.ArrayLike, name: str = "embeddings") -> np.ndarray:
    """Finite embeddings as float64 [2N, D]."""
    array = np.asarray(embeddings)
    if array.ndim != 2 or array.shape[0] % 2 or not array.size or array.dtype.kind in "bcOSU":
        raise ProtocolError(f"Expected {name} of real [2N, D]. Received: {array.dtype} of shape {array.shape}")
    array = array.astype(np.float64, copy=False)
    if (bad := ~np.isfinite(array).all(axis=1)).any():
        pairs = describe_indices(bad.reshape(-1, 2).any(axis=1))
        raise ProtocolError(f"Expected finite {name}. Received: NaN or infinity in pairs {pairs}")
    return array


def _checked_norms(norms: npt.ArrayLike, pairs: int) -> np.ndarray:
    """Finite norms as float64 [N]."""
    array = np.asarray(norms, dtype=np.float64)
    if array.shape != (pairs,):
        raise ProtocolError(f"Expected norms of shape [{pairs}]. Received: shape {array.shape}")
    if (bad := ~np.isfinite(array)).any():
        raise ProtocolError(f"Expected finite norms. Received: NaN or infinity at pairs {describe_indices(bad)}")
    return array
