"""A pushed model used in this process: embeddings of image files, and whether two faces are one person."""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from serving.export import EXTRA, VERIFICATION_FILE, ModelMetadata
from serving.signatures import RAW, RAW_MIRRORED, SERVING, VERIFICATION
from trainer_module import features
from trainer_module.console import say
from trainer_module.errors import DataError
from trainer_module.images import decode, image_size
from trainer_module.literal_paths import load_saved_model

_IMAGES_PER_CALL = 64


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Embeddings of N images.

    Attributes:
      embeddings: float32 [N, D], each of length 1.
      norms: float32 [N], raw lengths, a hint at image quality.
    """

    embeddings: np.ndarray
    norms: np.ndarray


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether two faces are one person.

    Attributes:
      same: the squared distance is below the threshold.
      cosine: of the two embeddings, -1..1.
      cosine_threshold: the threshold as a cosine: on unit vectors, cosine = 1 - squared distance / 2.
    """

    same: bool
    cosine: float
    cosine_threshold: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)


class LocalModel:
    """A SavedModel that this project exported."""

    def __init__(self, path: str) -> None:
        """Loads the model.

        Args:
          path: the SavedModel's folder, an import's, or a folder of versions, of which the latest is taken.

        Raises:
          DataError: neither.
        """
        self.path = resolve(path)
        try:
            self._loaded = load_saved_model(self.path)
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise DataError(f"{self.path}: expected a whole SavedModel. Received: {error}") from error
        missing = {SERVING, VERIFICATION} - set(self._loaded.signatures)
        if missing:
            raise DataError(
                f"{self.path}: expected a SavedModel with the signatures {SERVING!r} and {VERIFICATION!r}. "
                f"Received: {sorted(self._loaded.signatures)}"
            )
        self._metadata = ModelMetadata.read(os.path.join(self.path, EXTRA))

    def embed(self, paths: Sequence[str], *, resize: bool = False) -> Embeddings:
        """Embeds image files by the signature that TF Serving answers with.

        Args:
          paths: JPEG or PNG files of aligned faces.
          resize: let the model resize images that are not 112x112.

        Returns:
          Their embeddings, in order.

        Raises:
          DataError: a file is no image, one of another size that may not be resized, or of too many pixels.
        """
        images = self._read_images(paths, resize)
        signature = self._loaded.signatures[SERVING]
        answers = [
            signature(tf.constant(images[begin : begin + _IMAGES_PER_CALL]))
            for begin in range(0, len(images), _IMAGES_PER_CALL)
        ]
        return Embeddings(
            np.concatenate([answer[features.EMBEDDING].numpy() for answer in answers]),
            np.concatenate([answer[features.NORM].numpy() for answer in answers]),
        )

    def threshold(self, name: str | None = None) -> float:
        """The squared distance that the evaluation chose.

        Args:
          name: of the verification set; the first one that has a threshold if None.

        Raises:
          DataError: the model was never evaluated and pushed, or not on that set, or its pairs bear no threshold.
        """
        path = os.path.join(self.path, EXTRA, VERIFICATION_FILE)
        if not tf.io.gfile.exists(path):
            raise DataError(
                f"{path}: expected the evaluation of a pushed model; or give --threshold. Received: no file"
            )
        try:
            with tf.io.gfile.GFile(path) as f:
                sets = json.load(f)["sets"]
            found = {key: figures["threshold"] for key, figures in sets.items() if figures["threshold"] is not None}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected the figures of an evaluation. Received: {error!r}") from error
        name = next(iter(found), None) if name is None else name
        if name not in found:
            raise DataError(f"{path}: expected a set of {sorted(found)}, which have a threshold. Received: {name!r}")
        return float(found[name])

    def verify(self, a: str, b: str, threshold: float, *, resize: bool = False) -> Verdict:
        """Compares two faces as the verification protocol does: image and mirror together.

        Args:
          a: path of one aligned face.
          b: path of the other.
          threshold: squared distance, 0..4.
          resize: let the model resize images that are not 112x112.

        Returns:
          The verdict.

        Raises:
          DataError: as for `embed`.
        """
        answer = self._loaded.signatures[VERIFICATION](tf.constant(self._read_images([a, b], resize)))
        both = answer[RAW].numpy().astype(np.float64) + answer[RAW_MIRRORED].numpy()
        first, second = both / np.linalg.norm(both, axis=1, keepdims=True)
        cosine = float(first @ second)
        cosine_threshold = 1.0 - threshold / 2.0
        return Verdict(cosine > cosine_threshold, cosine, cosine_threshold)

    def _read_images(self, paths: Sequence[str], resize: bool) -> list[bytes]:
        """Whole images of the expected size; says how many are going to be resized."""
        expected = (self._metadata.image_size, self._metadata.image_size)
        images, others = [], 0
        for path in paths:
            content, size = _read_image(path, self._metadata.max_image_pixels)
            if size != expected and not resize:
                raise DataError(
                    f"{path}: expected an aligned {expected[0]}x{expected[1]} face (--resize takes other sizes). "
                    f"Received: {size[0]}x{size[1]} pixels"
                )
            images.append(content)
            others += size != expected
        if others:
            say(f"{others} of {len(images)} images resized to {expected[0]}x{expected[1]}: their faces must be aligned")
        return images


def resolve(path: str) -> str:
    """Finds the SavedModel: the folder itself, that of an import, or the highest version below.

    Raises:
      DataError: none of these.
    """
    for candidate in (path, os.path.join(path, "saved_model")):
        if tf.io.gfile.exists(os.path.join(candidate, "saved_model.pb")):
            return candidate
    versions = [int(name.rstrip("/")) for name in tf.io.gfile.listdir(path) if name.rstrip("/").isdigit()]
    if not versions:
        raise DataError(f"{path}: expected a SavedModel or a folder of numbered versions. Received: neither")
    return os.path.join(path, str(max(versions)))


def _read_image(path: str, max_pixels: int) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a whole JPEG or PNG, and its width and height, which are known before anything is decoded."""
    with open(path, "rb") as f:
        content = f.read()
    if not content.startswith(features.IMAGE_MAGICS):
        raise DataError(f"{path}: expected a JPEG or PNG image. Received: bytes {content[:8].hex(' ') or 'none'}")
    try:
        height, width = image_size(tf.constant(content)).numpy().tolist()
        if height * width > max_pixels:
            raise DataError(
                f"{path}: expected at most {max_pixels:,} pixels, the model's max_image_pixels. "
                f"Received: {width}x{height} pixels"
            )
        decode(tf.constant(content), max_pixels)
    except tf.errors.InvalidArgumentError as error:
        raise DataError(f"{path}: expected a whole JPEG or PNG image. Received: {error.message}") from error
    return content, (width, height)
