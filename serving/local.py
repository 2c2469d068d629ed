"""A model used in this process: embeddings of faces, and whether two faces are one person. Imports no TensorFlow."""

import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from arcface_common import features
from arcface_common.arguments import checked
from arcface_common.artifacts import EXTRA, VERIFICATION_FILE
from arcface_common.errors import DataError
from arcface_common.model_metadata import ModelMetadata
from serving.answers import (
    BATCH_SIZE,
    CHOOSE,
    EMBED,
    VERIFY,
    Embeddings,
    Verdict,
    chosen_threshold,
    joined,
    verdict,
)
from serving.face_images import FaceImage, OnBad, batches, check_decodes
from serving.graph_session import GraphSession
from serving.signature_names import RAW, RAW_MIRRORED, SERVING, VERIFICATION
from serving.thresholds import Threshold, read_threshold
from serving.versions import resolve
from trainer_module.literal_paths import load_saved_model


class LocalModel:
    """A SavedModel that this project exported. `arcface_tfx.load` gives one.

    Attributes:
      path: the SavedModel's folder.
      metadata: what it is.
      session: runs its signatures.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Loads the model.

        Args:
          path: the SavedModel's folder, an import's, or a folder of versions, of which the latest is taken.

        Raises:
          DataError: neither.
        """
        self.path = resolve(os.fspath(path))
        self.session = GraphSession(self.path)
        missing = {SERVING, VERIFICATION} - set(self.session.signatures)
        if missing:
            raise DataError(
                f"{self.path}: expected a SavedModel with the signatures {SERVING!r} and {VERIFICATION!r}. "
                f"Received: {sorted(self.session.signatures)}"
            )
        self.metadata = ModelMetadata.read(os.path.join(self.path, EXTRA))
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"<{self.metadata.backbone}, {self.metadata.embedding_dim} values, {self.path}>"

    @functools.cached_property
    def loaded(self) -> Any:
        """What TensorFlow's own Python loads from the folder; it is imported for that."""
        return load_saved_model(self.path)

    @checked(**EMBED)
    def embed(
        self,
        images: Iterable[FaceImage] | FaceImage,
        *,
        batch_size: int = BATCH_SIZE,
        align: bool = False,
        resize: bool = False,
        on_bad: OnBad | None = None,
    ) -> Embeddings:
        """Embeds aligned faces, as TF Serving answers.

        >>> found = model.embed(["anna1.jpg", "anna2.jpg"])
        >>> found.embeddings.shape
        (2, 16)
        >>> float(found.embeddings[0] @ found.embeddings[1]) <= 1.0
        True

        Args:
          images: files, bytes of JPEG or PNG, or uint8 [112, 112, 3] in RGB; one of these alone, too. With `align`,
            pixels of any size.
          batch_size: images in memory at a time, at least 1.
          align: the images are photos: find, turn and cut out their faces as `arcface-tfx align` does.
          resize: let the model resize images that are not 112x112; their faces must be aligned.
          on_bad: is called with position and error of an image that can't be used, and the others go on; if None, the
            first such image is an error.

        Returns:
          Their embeddings, in order.

        Raises:
          DataError: no image, a file that can't be read, another size that may not be resized, too many pixels.
        """
        parts = list(self.embed_iter(images, batch_size=batch_size, align=align, resize=resize, on_bad=on_bad))
        return joined(parts, self.metadata.embedding_dim)

    @checked(**EMBED)
    def embed_iter(
        self,
        images: Iterable[FaceImage] | FaceImage,
        *,
        batch_size: int = BATCH_SIZE,
        align: bool = False,
        resize: bool = False,
        on_bad: OnBad | None = None,
    ) -> Iterator[Embeddings]:
        """Embeds any number of faces in bounded memory, see `embed`.

        >>> for part in model.embed_iter(["anna1.jpg", "anna2.jpg", "ben1.jpg"], batch_size=2):
        ...     print(len(part), part.positions)
        2 [0 1]
        1 [2]

        Yields:
          The embeddings of each batch, in order.
        """
        self._check_process()
        given = batches(
            images, self.metadata, batch_size=batch_size, align=align, resize=resize, on_bad=on_bad, check=check_decodes
        )
        for positions, contents in given:
            answer = self.session.run(SERVING, {features.IMAGE_BYTES: contents})
            embeddings, norms = answer[features.EMBEDDING], answer[features.NORM]
            usable = np.isfinite(norms) & (norms > 0)  # 0 where the graph refused what was checked here
            if not usable.all():
                bad = positions[int(np.argmin(usable))]
                raise DataError(f"{self.path}: expected finite embeddings. Received: another of image {bad}")
            yield Embeddings(embeddings, norms, np.array(positions, np.int64))

    @checked(**CHOOSE)
    def threshold(self, set_name: str | None = None, *, far: float | None = None) -> Threshold:
        """The cosine that the model's evaluation chose.

        >>> model.threshold(far=1e-2).pairs
        300

        Args:
          set_name: of the verification set; the first one that has such a threshold if None.
          far: a false accept rate, one of 1e-2 to 1e-6; None for the threshold of the highest accuracy.

        Raises:
          DataError: the model was never evaluated and pushed, or not on that set, or its pairs bear no such threshold.
        """
        return read_threshold(os.path.join(self.path, EXTRA, VERIFICATION_FILE), set_name, far)

    @checked(**VERIFY)
    def verify(
        self,
        a: FaceImage,
        b: FaceImage,
        threshold: float | Threshold | None = None,
        *,
        far: float | None = None,
        set_name: str | None = None,
        align: bool = False,
        resize: bool = False,
    ) -> Verdict:
        """Compares two faces as the verification protocol does: image and mirror together.

        >>> model.verify("anna1.jpg", "anna1.jpg", 0.5).same
        True
        >>> print(model.verify("anna1.jpg", "anna1.jpg", far=1e-2).threshold)
        0.2500 (FAR 0.01 on lfw: 3 of 300 pairs of different people)

        Args:
          a: an aligned face, see `embed`.
          b: the other.
          threshold: a cosine of -1..1 above which they are one person; None for that of the model's evaluation.
          far: see `threshold`.
          set_name: see `threshold`.
          align: see `embed`.
          resize: see `embed`.

        Returns:
          The verdict.

        Raises:
          DataError: as for `embed` and `threshold`, or a threshold beside `far` or `set_name`.
        """
        threshold = chosen_threshold(threshold, far, set_name, self.threshold)
        self._check_process()
        given = batches(
            [a, b], self.metadata, batch_size=2, align=align, resize=resize, on_bad=None, check=check_decodes
        )
        contents = [content for _, some in given for content in some]
        answer = self.session.run(VERIFICATION, {features.IMAGE_BYTES: contents})
        return verdict(answer[RAW], answer[RAW_MIRRORED], threshold, self.path)

    def _check_process(self) -> None:
        """Checks that this is the process that loaded the model: TensorFlow waits without end in a forked one.

        Raises:
          DataError: it is another.
        """
        if os.getpid() != self._process:
            raise DataError(
                f"{self.path}: expected to be used by the process that loaded it, {self._process} (load it in each; "
                f"multiprocessing: 'spawn'). Received: a call in {os.getpid()}, forked from it"
            )
