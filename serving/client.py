"""A model that a server computes, with the methods of a local one. Needs no TensorFlow: it starts in half a second."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import numpy as np

from arcface_common import features
from arcface_common.arguments import checked
from arcface_common.artifacts import METADATA_FILE, MODEL_NAME, VERIFICATION_FILE
from arcface_common.errors import DataError, argument
from arcface_common.features import PixelFormat
from arcface_common.image_pixels import to_png
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
from serving.asking import RefusedInputError, ServerError
from serving.face_images import FaceImage, OnBad, batches, check_whole
from serving.signature_names import RAW, RAW_MIRRORED, SERVING, VERIFICATION
from serving.thresholds import Threshold, parse_threshold
from serving.transports import Server

_LENGTH_TOLERANCE = 1e-3
_REQUEST_BYTES = 32 << 20  # as base64 they are 43 MB, of the 64 that our server takes


class RemoteModel:
    """A model that a server computes: `arcface-tfx serve`, TF Serving, or another of its protocol.

    >>> model = RemoteModel("127.0.0.1:8500")
    >>> model.verify("anna.jpg", "ben.jpg", threshold=0.3).same

    Attributes:
      metadata: what it is, as the server tells it; TF Serving doesn't, and the usual is taken then.
    """

    def __init__(
        self,
        address: str,
        model: str = MODEL_NAME,
        *,
        seconds: float = 30.0,
        token: str | None = None,
        certificate: str | os.PathLike[str] | None = None,
    ) -> None:
        """Asks the server what it serves.

        Args:
          address: "HOST:PORT" of gRPC, or with "grpc://", "grpcs://" (TLS), "http://" or "https://" before it.
          model: its name there.
          seconds: that a request may take, all tries together.
          token: bearer token.
          certificate: file of the authority that TLS trusts (PEM); the system's by default.

        Raises:
          DataError: no such address, or a server that doesn't answer.
        """
        self._server = Server(address, model, seconds, token, certificate)
        self._transport = self._server.transport()
        told = self._transport.file(METADATA_FILE)
        self.metadata = self._guessed() if told is None else ModelMetadata.parse(told, f"{address}/{METADATA_FILE}")

    def __repr__(self) -> str:
        return f"<{self.metadata.backbone} at {self._server.address}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up."""
        self._transport.close()

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
        """See `LocalModel.embed`; `align` finds faces in this process, with TensorFlow."""
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
        """See `LocalModel.embed_iter`. A request holds at most 32 MB of images, whatever `batch_size` says."""
        given = batches(
            images, self.metadata, batch_size=batch_size, align=align, resize=resize, on_bad=on_bad, check=check_whole
        )
        versions: set[int] = set()
        for positions, contents in given:
            for places, part in _small_enough(contents):
                answer, usable = self._embedded(part, versions)
                kept = [positions[places[i]] for i in np.flatnonzero(usable)]
                for i in np.flatnonzero(~usable):
                    _left_out(positions[places[i]], on_bad)
                yield Embeddings(
                    answer[features.EMBEDDING][usable], answer[features.NORM][usable], np.array(kept, np.int64)
                )

    @checked(**CHOOSE)
    def threshold(self, set_name: str | None = None, *, far: float | None = None) -> Threshold:
        """See `LocalModel.threshold`.

        Raises:
          DataError: as there; TF Serving tells of no evaluation.
        """
        told = self._transport.file(VERIFICATION_FILE)
        if told is None:
            raise DataError(
                f"{self._server.address}: expected a server that tells the model's evaluation, and a pushed model; or "
                f"give {argument('threshold')}. Received: neither"
            )
        return parse_threshold(told, f"{self._server.address}/{VERIFICATION_FILE}", set_name, far)

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
        """See `LocalModel.verify`."""
        threshold = chosen_threshold(threshold, far, set_name, self.threshold)
        given = batches([a, b], self.metadata, batch_size=2, align=align, resize=resize, on_bad=None, check=check_whole)
        contents = [content for _, some in given for content in some]
        answer = self._transport.predict(VERIFICATION, {features.IMAGE_BYTES: contents}).outputs
        self._check(answer, {RAW: (2, None), RAW_MIRRORED: (2, None)})
        for position in np.flatnonzero(~_usable(answer, 2)):
            _left_out(int(position), None)
        return verdict(answer[RAW], answer[RAW_MIRRORED], threshold, self._server.address)

    def _guessed(self) -> ModelMetadata:
        """What is taken of a server that doesn't tell: the usual size, and the width of a black image's embedding."""
        black = to_png(np.zeros((features.IMAGE_SIZE, features.IMAGE_SIZE, features.CHANNELS), np.uint8))
        answer = self._transport.predict(SERVING, {features.IMAGE_BYTES: [black]}).outputs
        self._check(answer, {features.EMBEDDING: (1, None)})
        return ModelMetadata("a network", {}, answer[features.EMBEDDING].shape[1], PixelFormat(), 0, {})

    def _embedded(self, images: list[bytes], versions: set[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Outputs of a batch, and which of its images could be read; where all are refused for one, each is asked.

        Args:
          images: of one request.
          versions: that have answered so far, one at most; this one is added.
        """
        try:
            predicted = self._transport.predict(SERVING, {features.IMAGE_BYTES: images})
        except RefusedInputError:
            if len(images) > 1:
                rows, usable = zip(*(self._embedded([image], versions) for image in images), strict=True)
                return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}, np.concatenate(usable)
            return _blank(self.metadata.embedding_dim), np.zeros(1, bool)
        if predicted.version is not None:
            if other := versions - {predicted.version}:
                raise ServerError(
                    f"{self._server.address}: expected one version of the model throughout; embeddings of two can't be "
                    f"compared. Ask again. Received: version {other.pop()}, then {predicted.version}"
                )
            versions.add(predicted.version)
        answer, count = predicted.outputs, len(images)
        self._check(answer, {features.EMBEDDING: (count, self.metadata.embedding_dim), features.NORM: (count,)})
        usable = _usable(answer, count)
        lengths = np.linalg.norm(answer[features.EMBEDDING][usable & (answer[features.NORM] != 0)], axis=1)
        if wrong := [length for length in lengths if not abs(length - 1) < _LENGTH_TOLERANCE]:
            raise ServerError(
                f"{self._server.address}: expected embeddings of length 1. Received: one of length {wrong[0]:g}"
            )
        return {name: answer[name] for name in (features.EMBEDDING, features.NORM)}, usable

    def _check(self, answer: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int | None, ...]]) -> None:
        """Checks outputs' shapes; None is any width. `valid` beside them has as many rows, if it is there.

        Raises:
          ServerError: another, or one is missing.
        """
        rows = next(iter(shapes.values()))[0]
        for name, shape in {**shapes, **({features.VALID: (rows,)} if features.VALID in answer else {})}.items():
            found = answer[name].shape if name in answer else ()
            if len(found) != len(shape) or any(w not in (None, f) for w, f in zip(shape, found, strict=True)):
                wanted = ", ".join("any" if size is None else str(size) for size in shape)
                received = list(found) if name in answer else "none"
                raise ServerError(
                    f"{self._server.address}: expected an output {name!r} of shape [{wanted}]. Received: {received}"
                )


def _usable(answer: dict[str, np.ndarray], count: int) -> np.ndarray:
    return np.asarray(answer.get(features.VALID, np.ones(count, bool)), bool)


def _blank(dim: int) -> dict[str, np.ndarray]:
    return {features.EMBEDDING: np.zeros((1, dim), np.float32), features.NORM: np.zeros(1, np.float32)}


def _left_out(position: int, on_bad: OnBad | None) -> None:
    error = DataError(f"image {position}: expected a whole JPEG or PNG image. Received: another, as the server says")
    if on_bad is None:
        raise error
    on_bad(position, error)


def _small_enough(contents: list[bytes]) -> Iterator[tuple[list[int], list[bytes]]]:
    """Places and images of parts that servers take; an image larger than that goes alone."""
    places: list[int] = []
    size = 0
    for place, content in enumerate(contents):
        if places and size + len(content) > _REQUEST_BYTES:
            yield places, [contents[i] for i in places]
            places, size = [], 0
        places.append(place)
        size += len(content)
    yield places, [contents[i] for i in places]
