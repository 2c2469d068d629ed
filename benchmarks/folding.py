"""What folding batch norm for inference brings: images/s of the exported network against the trained one.

Run it from the repository's root: `python -m benchmarks.folding`. Both are called on the same pixels in one process, by
turns, so that both meet the same load of the machine; each figure is the median of the turns.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import table

MODULE = "benchmarks.folding"
BACKBONES = ("iresnet50", "mobilefacenet")
BATCHES = (1, 8, 32)
TURNS = 9


def measure() -> Iterator[tuple[str, str, str]]:
    """Figure, value and unit of each row."""
    import tensorflow as tf

    from arcface_common.features import PixelFormat
    from serving.inference.network import InferenceNetwork
    from serving.signatures import EmbeddingModel
    from trainer_module import backbones

    for name in BACKBONES:
        backbone = backbones.build(name)
        networks = [EmbeddingModel(network, PixelFormat()) for network in (backbone, InferenceNetwork(backbone))]
        for batch in BATCHES:
            pixels = tf.constant(np.random.default_rng(0).integers(0, 256, (batch, 112, 112, 3), dtype=np.uint8))
            seconds = np.array([[_seconds(network, pixels) for network in networks] for _ in range(TURNS + 1)][1:])
            trained, folded = batch / np.median(seconds, axis=0)
            yield f"{name}, batch {batch}, as trained", f"{trained:.1f}", "images/s"
            yield f"{name}, batch {batch}, folded", f"{folded:.1f}", "images/s"
            yield f"{name}, batch {batch}, folded / as trained", f"{folded / trained:.3f}", "ratio"


def _seconds(network: Any, pixels: Any) -> float:
    begin = time.perf_counter()
    network.embed_pixels(pixels)["embedding"].numpy()
    return time.perf_counter() - begin


if __name__ == "__main__":
    table.write("folding", f"python -m {MODULE}", measure())
