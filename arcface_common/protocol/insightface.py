"""InsightFace's face verification protocol, to the digit, as far as the pairs can bear its figures.

What is measured: an image's embedding plus that of its mirror, L2-normalised; squared Euclidean distance of the two
images of a pair; `distance < threshold` says "same person". Folds are cut in file order, so callers that got pairs from
a shuffle sort by pair index first. Source: `recognition/arcface_torch/eval/verification.py` of deepinsight/insightface
(after D. Sandberg's facenet), and G. Huang et al., "Labeled Faces in the Wild", 2007, for the ten folds.

**Precision.** That script collects the network's float32 outputs in a float64 array and computes in float64 from there
on. So do we; float32 arithmetic moves distances by up to 5e-7 (on LFW), which shows wherever one lies on a threshold.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import normalize

from arcface_common.features import FAR_TARGETS
from arcface_common.protocol import support
from arcface_common.protocol.folds import FoldFigures, best_threshold, cut_folds, fold_figures
from arcface_common.protocol.verification_result import Cut, VerificationResult
from arcface_common.protocol.verification_statistics import (
    ProtocolError,
    bootstrap_accuracy,
    checked_distances,
    checked_flags,
    checked_norms,
    roc_curve,
    tar_at_far,
)

_EASY_TARGET = 1e-2  # the false accept rate of `tar_1e2`


def pair_distances(embeddings: npt.ArrayLike, mirrored: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance and mean raw length of each pair. Pairs do not influence each other, so batches may be any size.

    Args:
      embeddings: raw (not normalised) embeddings, float [2N, D]; rows 2i and 2i + 1 are pair i.
      mirrored: the same of the mirrored images.

    Returns:
      Squared distances, float64 [N], 0..4, and the mean of each pair's four raw lengths, float64 [N], whose mean over
      all pairs is XNorm. A distance is NaN where an embedding has no direction: it is not finite, or its mirror's
      cancels it. A length is not finite where an embedding isn't.

    Raises:
      ProtocolError: shapes that differ or are no [2N, D].
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
    cut: Cut = "contiguous",
    far_target: float = 1e-3,
) -> VerificationResult:
    """Runs the protocol on distances. 6,000 pairs take 2 ms.

    Args:
      distances: squared distances in file order, float [N], 0..4; NaN where an embedding has no direction.
      is_same: bool [N] (or 0 and 1), whether pair i shows one person.
      norms: mean raw length of each pair's embeddings, float [N], as `pair_distances` gives them.
      folds: number of folds, 2..N; the first N % folds hold one pair more.
      cut: "contiguous" cuts the folds in file order, as published. "stratified" cuts each kind of pairs by itself in
        file order: for sets that are sorted by kind, whose contiguous folds lack one.
      far_target: false accept rate at which TAR is measured, above 0 and at most 1.

    Returns:
      The result; figures that the pairs can't bear are None, with the reason.

    Raises:
      ProtocolError: fewer pairs than folds, lengths that differ, or values out of range.
    """
    distances = checked_distances(distances, nan=True)
    same = checked_flags(is_same, distances.size, "is_same")
    lengths = None if norms is None else checked_norms(norms, distances.size)
    if not 0 < far_target <= 1:
        raise ProtocolError(f"Expected far_target above 0 and at most 1. Received: far_target={far_target}")
    undefined: dict[str, str] = {}
    values: dict[str, Any]
    xnorm = float(np.mean(lengths)) if lengths is not None and lengths.size else None
    if xnorm is not None and not np.isfinite(xnorm):
        xnorm, undefined["xnorm"] = None, "embeddings that are not finite"
    if reason := support.whole_set(distances, same):
        figures, values = FoldFigures(), {"tar_at_far": dict.fromkeys(FAR_TARGETS)}
        undefined |= dict.fromkeys((*support.ALL, *map(_named, FAR_TARGETS)), reason)
    else:
        fold_of = cut_folds(same, folds, cut)
        figures = fold_figures(distances, same, fold_of, (far_target, _EASY_TARGET))
        values = _values(figures, distances, same)
        values["warnings"] = support.fold_warnings(figures, same, fold_of, cut, values["tar"], values["far"])
        undefined |= support.undefined_figures(figures, distances, same, fold_of)
        impostors = int(np.sum(~same))
        undefined |= {
            _named(far): str(support.needs(far, impostors)) for far, tar in values["tar_at_far"].items() if tar is None
        }
    judged = "accuracy" not in undefined
    return VerificationResult(
        pairs=distances.size,
        accuracies=tuple(figures.accuracies) if judged else (),
        thresholds=tuple(figures.thresholds) if judged else (),
        far_target=far_target,
        xnorm=xnorm,
        folds=cut,
        undefined=undefined,
        correct=figures.correct if judged else None,
        **values | dict.fromkeys(support.ALL & undefined.keys()),
    )


def _values(figures: FoldFigures, distances: np.ndarray, same: np.ndarray) -> dict[str, Any]:
    """Every figure but those of each fold, whatever the pairs can bear."""
    curve = roc_curve(distances, same)
    wanted, easy = figures.rates
    return {
        "accuracy": float(np.mean(figures.accuracies)),
        "accuracy_std": float(np.std(figures.accuracies)),
        "accuracy_ci": bootstrap_accuracy(figures.correct),
        "threshold": float(np.mean(figures.thresholds)),
        "threshold_std": float(np.std(figures.thresholds)),
        "best_threshold": best_threshold(distances, same),
        "tar": float(np.mean(wanted.tar)),
        "tar_std": float(np.std(wanted.tar)),
        "far": float(np.mean(wanted.far)),
        "tar_threshold": float(np.mean(wanted.thresholds)),
        "tar_1e2": float(np.mean(easy.tar)),
        "auc": curve.auc(),
        "eer": curve.eer(),
        "tar_at_far": tar_at_far(distances, same),
    }


def _named(far: float) -> str:
    """The name of an entry of `tar_at_far` among the undefined figures."""
    return f"tar_at_far {far:g}"


def _fuse(embeddings: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Unit vectors of image plus mirror, float64 [2N, D]; NaN where there is no direction."""
    if embeddings.shape != mirrored.shape:
        raise ProtocolError(
            f"Expected embeddings and mirrored of one shape. Received: {embeddings.shape} and {mirrored.shape}"
        )
    with np.errstate(invalid="ignore", over="ignore"):  # infinities of two signs
        total = embeddings + mirrored
        squares = np.einsum("nd,nd->n", total, total)
    lost = ~(np.isfinite(squares) & (squares > 0))
    total[lost] = 0  # scikit-learn refuses what is not finite
    unit = normalize(total)
    unit[lost] = np.nan
    return unit


def _squared_distances(unit: np.ndarray) -> np.ndarray:
    """Squared distance of rows 2i and 2i + 1 of float64 [2N, D], float64 [N]."""
    return np.sum(np.square(unit[0::2] - unit[1::2]), axis=1)


def _checked_embeddings(embeddings: npt.ArrayLike, name: str = "embeddings") -> np.ndarray:
    """Embeddings as float64 [2N, D]."""
    array = np.asarray(embeddings)
    if array.ndim != 2 or array.shape[0] % 2 or not array.size or array.dtype.kind in "bcOSU":
        raise ProtocolError(f"Expected {name} of real [2N, D]. Received: {array.dtype} of shape {array.shape}")
    return array.astype(np.float64, copy=False)
