"""The verification protocol on a SavedModel and a folder of `.bin` sets, outside a pipeline."""

from collections.abc import Iterable

import tensorflow as tf

from components import verification_bin
from evaluator_custom import protocol
from evaluator_custom.embedder import PairEmbedder
from trainer_module.console import progress
from trainer_module.images import decode


def evaluate_set(embedder: PairEmbedder, path: str, swap_colours: bool = False) -> protocol.VerificationResult:
    """Evaluates one verification set; each distinct image is embedded once.

    Args:
      embedder: the loaded model.
      path: the `.bin` file.
      swap_colours: feed blue where the model expects red and the other way round: what a wrong colour order does.

    Returns:
      The protocol's figures.

    Raises:
      DataError: not a verification set.
    """
    pairs = verification_bin.read(path)
    images = _swapped(pairs.images) if swap_colours else pairs.images
    with progress(total=len(set(images)), description="embedding", unit="img") as bar:
        raw, mirrored = embedder.embed(images, bar)
    return protocol.evaluate_embeddings(raw, mirrored, pairs.is_same)


def _swapped(images: Iterable[bytes]) -> list[bytes]:
    """The images with red and blue exchanged, as PNG: the model then decodes exactly these pixels."""
    known: dict[bytes, bytes] = {}
    for image in images:
        if image not in known:
            known[image] = tf.io.encode_png(decode(image)[..., ::-1]).numpy()
    return [known[image] for image in images]
