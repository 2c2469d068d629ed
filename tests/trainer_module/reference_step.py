"""The training step once more, in float64 numpy: formulas of the papers, and gradients by differences.

Shares no line with the product. The network is that of `tiny_network`.
"""

import numpy as np

BLOCK, EPSILON = 28, 1e-3
DECAYED = ("kernel", "centres")


def learning_rate(done, settings):
    """Of the step after `done` others: linear to the peak, then what the schedule says."""
    if done < settings.warmup_steps:
        return settings.learning_rate * (done + 1) / settings.warmup_steps
    share = (done - settings.warmup_steps) / (settings.steps - settings.warmup_steps)
    behind = len([milestone for milestone in settings.milestones if milestone <= done])
    falls = {
        "cosine": (1 + np.cos(np.pi * share)) / 2,
        "step": settings.decay_factor**behind,
        "polynomial": (1 - share) ** settings.power,
    }
    return settings.learning_rate * falls[settings.schedule]


def margin(done, settings):
    """Of the step after `done` others."""
    return settings.margin * min(done / settings.margin_warmup_steps, 1)


def block_means(pixels, mirrored):
    """uint8 [N, 112, 112, 3] -> float64 [N, 48] of (x - 127.5) / 128, mirrored images from right to left."""
    turned = np.where(mirrored[:, None, None, None], pixels[:, :, ::-1], pixels)
    values = (turned.astype(np.float64) - 127.5) / 128
    side = values.shape[1] // BLOCK
    return values.reshape(-1, side, BLOCK, side, BLOCK, 3).mean(axis=(2, 4)).reshape(len(values), -1)


def embeddings(weights, inputs, groups):
    """[N, D]; each group of images is normalised by its own mean and variance, as each replica's batch is.

    No group at all is a frozen network, which normalises by its moving statistics: 0 and 1 before the first step.
    """
    x = inputs @ weights["kernel"] + weights["bias"]
    x = np.where(x > 0, x, weights["alpha"] * x)
    if not groups:
        return x / np.sqrt(1 + EPSILON) * weights["gamma"] + weights["beta"]
    parts = [(part - part.mean(0)) / np.sqrt(part.var(0) + EPSILON) for part in np.split(x, groups)]
    return np.concatenate(parts) * weights["gamma"] + weights["beta"]


def cosines(weights, inputs, groups):
    """[N, C]."""
    raw = embeddings(weights, inputs, groups)
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return unit @ (weights["centres"] / np.linalg.norm(weights["centres"], axis=0))


def with_margin(cosine, m):
    """ArcFace's target: cos(theta + m), and InsightFace's continuation beyond theta = pi - m."""
    theta = np.arccos(np.clip(cosine, -1, 1))
    return np.where(theta + m < np.pi, np.cos(theta + m), cosine - m * np.sin(np.pi - m))


def loss(weights, inputs, classes, groups, m, settings):
    """Mean cross-entropy over the whole batch."""
    rows = np.arange(len(classes))
    logits = cosines(weights, inputs, groups)
    logits[rows, classes] = with_margin(logits[rows, classes], m)
    logits = settings.scale * logits
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[rows, classes])


def penalty(weights, settings):
    """L2 of what is decayed, for SGD; AdamW decays by itself."""
    squares = sum(np.sum(weights[name] ** 2) for name in DECAYED)
    return settings.weight_decay * squares / 2 if settings.optimizer == "sgd" else 0.0


def gradients(function, weights, names, width=1e-6):
    """Central differences: an error of about 1e-9."""
    found = {}
    for name in names:
        values = weights[name]
        found[name] = np.zeros_like(values)
        for place in np.ndindex(values.shape):
            kept, sides = values[place], []
            for side in (kept + width, kept - width):
                values[place] = side
                sides.append(function(weights))
            values[place] = kept
            found[name][place] = (sides[0] - sides[1]) / (2 * width)
    return found


class Sgd:
    """Momentum as Sutskever et al. (2013) write it without Nesterov: v = mu v - lr g, w = w + v."""

    def __init__(self, settings):
        self.momentum, self.velocity, self.slow = settings.momentum, {}, settings.backbone_rate

    def apply(self, weights, gradient, rate):
        for name, g in gradient.items():
            own = rate if name == "centres" else self.slow * rate
            self.velocity[name] = self.momentum * self.velocity.get(name, 0.0) - own * g
            weights[name] += self.velocity[name]


class AdamW:
    """Loshchilov & Hutter, algorithm 2, with the decay times the learning rate and Keras's place of epsilon."""

    def __init__(self, settings):
        self.decay, self.slow = settings.weight_decay, settings.backbone_rate
        self.steps, self.first, self.second = {}, {}, {}

    def apply(self, weights, gradient, rate):
        peak = rate
        for name, g in gradient.items():
            rate = peak if name == "centres" else self.slow * peak
            steps = self.steps[name] = self.steps.get(name, 0) + 1
            corrected = rate * np.sqrt(1 - 0.999**steps) / (1 - 0.9**steps)
            self.first[name] = 0.9 * self.first.get(name, 0.0) + 0.1 * g
            self.second[name] = 0.999 * self.second.get(name, 0.0) + 0.001 * g**2
            if name in DECAYED:
                weights[name] -= rate * self.decay * weights[name]
            weights[name] -= corrected * self.first[name] / (np.sqrt(self.second[name]) + 1e-7)


def run_steps(settings, weights, batches, groups):
    """Metrics of each step and weights after it, with keys "STEP/NAME", and `with margin/STEP`, a wrong accuracy."""
    weights = {name: value.copy() for name, value in weights.items()}
    optimizer = {"sgd": Sgd, "adamw": AdamW}[settings.optimizer](settings)
    found, factor, all_groups = {}, 1.0, groups
    for done, (pixels, classes, mirrored) in enumerate(zip(*batches, strict=True)):
        inputs = block_means(pixels, mirrored & settings.flip)
        m = margin(done, settings)
        frozen = done < settings.freeze_steps
        groups = 0 if frozen else all_groups

        def total(w, inputs=inputs, classes=classes, m=m, factor=factor, groups=groups):
            return loss(w, inputs, classes, groups, m, settings) + factor * penalty(w, settings)

        gradient = gradients(total, weights, ["centres"] if frozen else list(weights))
        norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
        found[f"{done}/loss"] = loss(weights, inputs, classes, groups, m, settings)
        found[f"{done}/penalty"] = factor * penalty(weights, settings)
        found[f"{done}/l2_factor"] = factor
        found[f"{done}/norm"] = np.linalg.norm(embeddings(weights, inputs, groups), axis=1).mean()
        found[f"{done}/gradient_norm"] = norm
        similar = cosines(weights, inputs, groups)
        found[f"{done}/accuracy"] = np.mean(similar.argmax(axis=1) == classes)
        similar[np.arange(len(classes)), classes] = with_margin(similar[np.arange(len(classes)), classes], m)
        found[f"with margin/{done}"] = np.mean(similar.argmax(axis=1) == classes)
        scale = min(1.0, settings.clip_norm / norm) if settings.clip_norm else 1.0
        optimizer.apply(weights, {name: g * scale for name, g in gradient.items()}, learning_rate(done, settings))
        found |= {f"{done}/{name}": value.copy() for name, value in weights.items()}
        if found[f"{done}/penalty"] > found[f"{done}/loss"]:
            factor *= settings.l2_decay
    return found
