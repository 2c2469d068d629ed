"""The losses once more in float64 numpy, by angles, as the papers and their authors' code have them.

Shares no line with the product. Gradients are by differences.
"""

import numpy as np


def cosines(embeddings, centres):
    """[N, D] and [C, K, D] -> [N, C]: of each class the nearest centre."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    rows = centres / np.linalg.norm(centres, axis=2, keepdims=True)
    return np.clip(np.einsum("nd,ckd->nck", unit, rows).max(axis=2), -1, 1)


def moved(theta, m):
    """cos(theta + m), and InsightFace's line beyond theta = pi - m."""
    return np.where(theta + m < np.pi, np.cos(theta + m), np.cos(theta) - m * np.sin(np.pi - m))


def _arcface(theta, lengths, m, options, state):
    return moved(theta, m)


def _cosface(theta, lengths, m, options, state):
    return np.cos(theta) - m


def _combined(theta, lengths, m, options, state):
    phi = options["m1"] * theta + m
    return np.where(phi <= np.pi, np.cos(phi), -np.cos(phi) - 2) - options["m3"]


def _adaface(theta, lengths, m, options, state):
    standard = (np.clip(state["lengths"], 0.001, 100) - state["mean"]) / (state["deviation"] + 0.001)
    z = np.clip(standard * options["h"], -1, 1)
    return np.cos(np.clip(theta - m * z, 0.001, np.pi - 0.001)) - (m + m * z)


def _magface(theta, lengths, m, options, state):
    a = np.clip(lengths, options["lower_norm"], options["upper_norm"])
    slope = (m - options["lower_margin"]) / (options["upper_norm"] - options["lower_norm"])
    return moved(theta, slope * (a - options["lower_norm"]) + options["lower_margin"])


def _normface(theta, lengths, m, options, state):
    return np.cos(theta)


TARGETS = {
    **{"arcface": _arcface, "cosface": _cosface, "combined": _combined, "adaface": _adaface, "magface": _magface},
    **{"curricularface": _arcface, "normface": _normface},
}


def state_of(loss, embeddings, centres, classes, options):
    """What a loss remembers after its first batch; kept while differences are taken, since no gradient flows there."""
    lengths = np.linalg.norm(embeddings, axis=1)
    if loss == "adaface":
        kept = np.clip(lengths, 0.001, 100)
        share = options["momentum"]
        return {
            "mean": share * kept.mean() + (1 - share) * 20,
            "deviation": share * kept.std(ddof=1) + (1 - share) * 100,
            "lengths": lengths,
        }
    if loss == "curricularface":
        return {"t": options["momentum"] * cosines(embeddings, centres)[np.arange(len(classes)), classes].mean()}
    return {}


def losses(loss, embeddings, centres, classes, *, m, options, state, scale=8.0, ignored_from=1.0):
    """The loss of each image."""
    rows = np.arange(len(classes))
    if loss == "softmax":
        logits = np.einsum("nd,ckd->nck", embeddings, centres).max(axis=2)
        extra = 0
    else:
        lengths = np.linalg.norm(embeddings, axis=1)
        cosine = cosines(embeddings, centres)
        target = TARGETS[loss](np.arccos(cosine[rows, classes]), lengths, m, options, state)
        logits = cosine.copy()
        if loss == "curricularface":
            hard = cosine > target[:, None]
            logits[hard] = cosine[hard] * (state["t"] + cosine[hard])
        logits[cosine > ignored_from] = 0
        logits[rows, classes] = target
        logits = scale * logits
        extra = 0
        if loss == "magface":
            a = np.clip(lengths, options["lower_norm"], options["upper_norm"])
            extra = options["weight"] * (a / options["upper_norm"] ** 2 + 1 / a)
    top = logits.max(axis=1)
    return np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - logits[rows, classes] + extra


def gradient(function, values, width=1e-6):
    """Central differences of a scalar function."""
    found = np.zeros_like(values)
    for place in np.ndindex(values.shape):
        kept = values[place]
        sides = []
        for side in (kept + width, kept - width):
            values[place] = side
            sides.append(function(values))
        values[place] = kept
        found[place] = (sides[0] - sides[1]) / (2 * width)
    return found
