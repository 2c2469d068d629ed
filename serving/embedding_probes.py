"""Images that a model's embeddings are compared on, and how near these must be."""

import io

import numpy as np
from PIL import Image

from arcface_common.features import IMAGE_SIZE

# Same weights, folded or not, another process or machine: what remains is the order of sums in kernels. Embeddings have
# length 1, so that their distance is an error relative to their size: 5e-6 seen between AVX2 and AVX-512, 4e-6 from
# folding, and 0.2 for a wrong colour order or another decoder.
TOLERANCE = 1e-4


class EmbeddingMismatchError(RuntimeError):
    """A model doesn't give the embeddings that its network gave when it was exported."""


def probe_images(count: int) -> list[bytes]:
    """JPEGs to warm a model up with and to compare its embeddings on: smooth random colour fields, nobody's face.

    Args:
      count: how many, each different, the same on every call.
    """
    images = []
    for seed in range(count):
        field = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(field).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        images.append(buffer.getvalue())
    return images


def check_alike(received: np.ndarray, expected: np.ndarray, what: str) -> float:
    """Compares embeddings of the probe images.

    Args:
      received: float32 [N, D] of length 1.
      expected: the same as the network gave it that was exported.
      what: gave what was received.

    Returns:
      The largest distance between two that belong together.

    Raises:
      EmbeddingMismatchError: the difference is above the tolerance.
    """
    same_shape = received.shape == expected.shape
    difference = float(np.linalg.norm(received - expected, axis=1).max()) if same_shape else float("inf")
    if not difference <= TOLERANCE:
        raise EmbeddingMismatchError(
            f"{what}: expected the embeddings recorded at export, {expected.shape}, within {TOLERANCE}. "
            f"Received: {received.shape}, largest distance {difference}"
        )
    return difference
