"""The verification protocol on a SavedModel and a folder of `.bin` sets, outside a pipeline."""

import datetime
import os
from collections.abc import Iterable

import tensorflow as tf

from components import verification_bin
from evaluator_custom import protocol
from evaluator_custom.embedder import PairEmbedder
from evaluator_custom.report import EvaluatedSet
from serving.export import EXTRA, ModelMetadata
from trainer_module.console import progress
from trainer_module.images import decode


def evaluate_set(embedder: PairEmbedder, name: str, path: str, swap_colours: bool = False) -> EvaluatedSet:
    """Evaluates one verification set; each distinct image is embedded once.

    Args:
      embedder: the loaded model.
      name: of the set.
      path: the `.bin` file.
      swap_colours: feed blue where the model expects red and the other way round: what a wrong colour order does.

    Returns:
      The protocol's figures, and what they come from.

    Raises:
      DataError: not a verification set.
    """
    pairs = verification_bin.read(path)
    images = _swapped(pairs.images) if swap_colours else pairs.images
    with progress(total=len(set(images)), description="embedding", unit="img") as bar:
        raw, mirrored = embedder.embed(images, bar)
    distances, norms = protocol.pair_distances(raw, mirrored)
    result = protocol.evaluate(distances, pairs.is_same, norms)
    return EvaluatedSet(name, result, distances, pairs.is_same, images)


def model_facts(model_path: str, data: str, colour: str) -> dict[str, str]:
    """What a report says about where its figures come from.

    Args:
      model_path: the SavedModel's folder.
      data: folder of the sets.
      colour: "rgb", or "bgr" where red and blue were exchanged.
    """
    facts = {"model": model_path, "data": data, "date": datetime.date.today().isoformat()}
    metadata = ModelMetadata.read(os.path.join(model_path, EXTRA))
    facts["backbone"] = f"{metadata.backbone}, {metadata.embedding_dim} dimensions"
    facts["pixels"] = str(metadata.pixel_format)
    facts["trained on"] = f"{metadata.classes} identities" if metadata.classes else "see its source"
    facts["training"] = ", ".join(f"{name}={value}" for name, value in metadata.training.items())
    if colour == "bgr":
        facts["colour"] = "red and blue exchanged before the model"
    return facts


def _swapped(images: Iterable[bytes]) -> list[bytes]:
    """The images with red and blue exchanged, as PNG: the model then decodes exactly these pixels."""
    known: dict[bytes, bytes] = {}
    for image in images:
        if image not in known:
            known[image] = tf.io.encode_png(decode(image)[..., ::-1]).numpy()
    return [known[image] for image in images]
