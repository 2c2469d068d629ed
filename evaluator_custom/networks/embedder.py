"""Networks applied to encoded images: what all of them share, and the SavedModels of this project."""

import abc
import os

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from arcface_common.artifacts import EXTRA
from arcface_common.errors import DataError
from arcface_common.features import IMAGE_BYTES, VALID
from arcface_common.gpus import find_gpus
from arcface_common.model_metadata import ModelMetadata
from arcface_common.protocol.insightface import pair_distances
from serving.graph_session import GraphSession
from serving.signature_names import RAW, RAW_MIRRORED, VERIFICATION
from trainer_module.data.images import decode

# With their mirrors twice as many. On a CPU 16 fill two cores, and most tensors stay below 32 MiB, above which malloc
# maps memory for each anew: 256 images of MobileFaceNet took 14.3 s of CPU by 64, half of it the kernel's, 7.4 s by 16.
IMAGES_PER_CALL = 64 if find_gpus().usable else 16

# What `Embedder.predict` gives for a pair, in this order.
DISTANCE, XNORM = 0, 1


# How many pairs the next evaluation will embed, for its progress bar; None if unknown. The evaluator sets it here:
# TFX's hooks have no room for it, and TFX loads the hooks' own module anew, which would forget it.
expected_pairs: int | None = None


class Embedder(abc.ABC):
    """A loaded network that turns encoded images into raw embeddings."""

    @abc.abstractmethod
    def embed_batch(self, images: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Raw embeddings of at most `IMAGES_PER_CALL` images and, from the same batch, of their mirrors.

        Args:
          images: N encoded images, JPEG or PNG.

        Returns:
          Two float32 [N, D].
        """

    @abc.abstractmethod
    def facts(self) -> dict[str, str]:
        """What a report says about the network, by a short name each."""

    def embed(self, images: list[bytes], bar: tqdm | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Raw embeddings of images and of their mirrors; an image that occurs again is embedded once.

        Args:
          images: N encoded images, N >= 1.
          bar: progress over the distinct images.

        Returns:
          Two float32 [N, D].
        """
        position: dict[bytes, int] = {}
        rows = [position.setdefault(image, len(position)) for image in images]
        distinct = list(position)
        raw, mirrored = [], []
        for begin in range(0, len(distinct), IMAGES_PER_CALL):
            answer = self.embed_batch(distinct[begin : begin + IMAGES_PER_CALL])
            raw.append(answer[0])
            mirrored.append(answer[1])
            if bar is not None:
                bar.update(len(raw[-1]))
        return np.concatenate(raw)[rows], np.concatenate(mirrored)[rows]

    def predict(self, images: list[bytes]) -> np.ndarray:
        """Distance and mean raw length of every pair.

        Args:
          images: 2N encoded images, pair i at 2i and 2i + 1.

        Returns:
          float64 [N, 2]: squared distance, and the mean of the pair's four raw lengths.
        """
        return np.stack(pair_distances(*self.embed(images)), axis=1)


class PairEmbedder(Embedder):
    """A SavedModel of ours."""

    def __init__(self, model_path: str, *, swap_colours: bool = False, session: GraphSession | None = None) -> None:
        """Loads the model.

        Args:
          model_path: a SavedModel with the signature `verification`.
          swap_colours: feed blue where the model expects red and the other way round: what a wrong colour order does.
          session: the model, where it is loaded already.

        Raises:
          DataError: a SavedModel without that signature.
        """
        self._path = model_path
        self.swap_colours = swap_colours
        self._session = session or GraphSession(model_path)
        if VERIFICATION not in self._session.signatures:
            raise DataError(
                f"{model_path}: expected a SavedModel with the signature {VERIFICATION!r}, as this project exports. "
                f"Received: {sorted(self._session.signatures)}"
            )

    def embed_batch(self, images: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """See `Embedder.embed_batch`.

        Raises:
          DataError: one of them is no image that the model decodes.
        """
        if self.swap_colours:
            # As PNG, so that the model decodes exactly these pixels.
            images = [tf.io.encode_png(decode(image)[..., ::-1]).numpy() for image in images]
        answer = self._session.run(VERIFICATION, {IMAGE_BYTES: images})
        valid = answer.get(VALID)  # models of before that had it raised an error themselves
        if valid is not None and not valid.all():
            bad = images[int(np.argmin(valid))]
            raise DataError(
                f"{self._path}: expected whole JPEG or PNG images of no more pixels than it decodes. "
                f"Received: one of {len(bad):,} bytes, {bad[:8].hex(' ') or 'none'} ..."
            )
        return answer[RAW], answer[RAW_MIRRORED]

    def facts(self) -> dict[str, str]:
        """What the model's metadata say."""
        facts = ModelMetadata.read(os.path.join(self._path, EXTRA)).facts()
        if self.swap_colours:
            facts["colour"] = "red and blue exchanged before the model"
        return facts
