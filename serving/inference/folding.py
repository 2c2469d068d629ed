"""Folds batch norm into the convolutions and fully connected layers beside it, exactly up to rounding."""

import dataclasses

import numpy as np

from serving.inference.steps import Convolution, Dense, Flatten, Network, Scale, Step


def fold(network: Network) -> Network:
    """Folds each batch norm that stands right behind or before a convolution or fully connected layer.

    Behind one, it scales the kernel and becomes a bias. Before one that pads by zeros, what it adds is missing at the
    border: so it becomes a bias for each place, which is less there.

    Args:
      network: with all of its batch norms.

    Returns:
      A network that gives the same but for rounding; a batch norm between other steps is still there.
    """
    steps = dict(network.steps)
    for absorb in (_absorb_behind, _absorb_before):
        for name in list(steps):
            if isinstance(step := steps.get(name), Scale):
                absorb(step, steps)
    return Network(steps)


def _absorb_behind(norm: Step, steps: dict[str, Step]) -> None:
    """Folds a batch norm into the layer whose result it alone takes."""
    before = steps[norm.inputs[0]]
    if not isinstance(before, Convolution | Dense) or _takers(before, steps) != [norm.name]:
        return
    scale, offset = norm.weights["scale"], norm.weights["offset"]
    weights = {
        "kernel": before.weights["kernel"] * scale,
        "bias": before.weights.get("bias", np.zeros_like(scale)) * scale + offset,
    }
    steps[before.name] = dataclasses.replace(before, weights=weights)
    _remove(norm, steps)


def _absorb_before(norm: Step, steps: dict[str, Step]) -> None:
    """Folds a batch norm into the layer that alone takes its result."""
    takers = _takers(norm, steps)
    if len(takers) != 1:
        return
    taker = steps[takers[0]]
    repeats = 1
    if isinstance(taker, Flatten):
        takers = _takers(taker, steps)
        repeats = taker.shape[0] // norm.shape[-1]
        taker = steps[takers[0]] if len(takers) == 1 else taker
    if not isinstance(taker, Convolution | Dense):
        return
    scale, offset = (np.tile(norm.weights[name], repeats) for name in ("scale", "offset"))
    kernel = taker.weights["kernel"]
    bias = taker.weights.get("bias", np.zeros(kernel.shape[-1]))
    if isinstance(taker, Dense):
        weights = {"kernel": kernel * scale[:, None], "bias": bias + offset @ kernel}
    else:
        by_output = (_by_output(values, taker) for values in (scale, offset))
        scales, offsets = by_output
        constant = _of_constant(taker, (kernel * offsets).sum(axis=2), steps[norm.name].shape)
        weights = {"kernel": kernel * scales, "bias": bias + constant}
    steps[taker.name] = dataclasses.replace(taker, weights=weights)
    _remove(norm, steps)


def _by_output(values: np.ndarray, taker: Convolution) -> np.ndarray:
    """A value for each channel that goes in, as the kernel has them: [C] -> [C / groups, F], or [C, 1] of one group."""
    if taker.groups == 1:
        return values[:, None]
    each = taker.shape[-1] // taker.groups
    return np.repeat(values.reshape(taker.groups, -1).T, each, axis=1)


def _of_constant(taker: Convolution, taps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What a convolution makes of a constant picture that it pads by zeros.

    Args:
      taker: the convolution.
      taps: [k, k, F], what each place of the kernel makes of the constant.
      shape: of the picture, (H, W, C).

    Returns:
      [F] where nothing is padded, else [H', W', F].
    """
    if not any(sum(pads) for pads in taker.pads):
        return taps.sum(axis=(0, 1))
    rows, columns = (
        _inside(size, places, taker.stride, pads[0], len(taps))
        for size, places, pads in zip(shape, taker.shape, taker.pads, strict=False)
    )
    return np.einsum("ya,xb,abf->yxf", rows, columns, taps)


def _inside(size: int, places: int, stride: int, pad: int, taps: int) -> np.ndarray:
    """Whether each tap of a kernel lies on the picture, at each of its places: float64 [places, taps]."""
    at = np.arange(places)[:, None] * stride - pad + np.arange(taps)
    return ((at >= 0) & (at < size)).astype(np.float64)


def _takers(step: Step, steps: dict[str, Step]) -> list[str]:
    """Names of the steps that take a step's result, once for each time; the network's own end is one that has none."""
    if step.name == next(reversed(steps)):
        return [""]
    return [other.name for other in steps.values() for name in other.inputs if name == step.name]


def _remove(norm: Step, steps: dict[str, Step]) -> None:
    """Takes a step out: whoever took its result takes what it took."""
    del steps[norm.name]
    for other in list(steps.values()):
        if norm.name in other.inputs:
            inputs = tuple(norm.inputs[0] if name == norm.name else name for name in other.inputs)
            steps[other.name] = dataclasses.replace(other, inputs=inputs)
