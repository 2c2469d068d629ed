"""Fills a network's batches across pairs and across calls, and remembers the images that it has seen."""

import collections
import hashlib
from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np

from arcface_common.protocol.insightface import pair_distances
from evaluator_custom.networks.embedder import IMAGES_PER_CALL, Embedder

Item = TypeVar("Item")

# All images of any published set but none of their bytes: 16,384 x 2 x 512 x 4 B = 67 MB a model, at D = 512.
REMEMBERED_IMAGES = 16_384


class _Image:
    """An image that was asked for: its embeddings by model, float32 [2, D] (itself, its mirror), once it is known."""

    __slots__ = ("embeddings",)

    def __init__(self) -> None:
        self.embeddings: dict[str, np.ndarray] | None = None


class EmbeddingQueue(Generic[Item]):
    """Takes groups of pairs of any size, and gives them back in order once all their images are embedded.

    Every call of a network gets exactly `IMAGES_PER_CALL` images, but for the last one of a flush: groups may be as
    small as one pair, and on accelerators another batch size is another choice of kernels. An image that is among
    the `REMEMBERED_IMAGES` seen last is not embedded again. Bytes of at most one group and one batch are held.
    """

    def __init__(self, embedders: Mapping[str, Embedder], remembered: int = REMEMBERED_IMAGES) -> None:
        """Starts empty.

        Args:
          embedders: at least one loaded network by its name; each embeds every image.
          remembered: how many images' embeddings are kept.
        """
        self._embedders = embedders
        self._remembered = remembered
        self._known: collections.OrderedDict[bytes, _Image] = collections.OrderedDict()  # by SHA-256
        self._new: collections.deque[tuple[_Image, bytes]] = collections.deque()
        self._waiting: collections.deque[tuple[Item, list[_Image]]] = collections.deque()

    def add(self, item: Item, images: list[bytes]) -> list[tuple[Item, dict[str, np.ndarray]]]:
        """Takes a group of pairs.

        Args:
          item: comes back with the group's predictions.
          images: 2N encoded images, pair i at 2i and 2i + 1.

        Returns:
          The groups that are done by now, as `flush` gives them; often none.
        """
        self._waiting.append((item, [self._find(image) for image in images]))
        while len(self._new) >= IMAGES_PER_CALL:
            self._embed(IMAGES_PER_CALL)
        return self._done()

    def flush(self) -> list[tuple[Item, dict[str, np.ndarray]]]:
        """Embeds what still waits.

        Returns:
          Each group's item and, by model, float64 [N, 2]: squared distance, and the mean of the pair's four raw
          lengths.
        """
        while self._new:
            self._embed(min(len(self._new), IMAGES_PER_CALL))
        return self._done()

    def _find(self, image: bytes) -> _Image:
        """The remembered image, or a new one that waits for its batch."""
        key = hashlib.sha256(image).digest()
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _Image()
            self._new.append((found, image))
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)  # groups that need it hold it themselves
        else:
            self._known.move_to_end(key)
        return found

    def _embed(self, count: int) -> None:
        batch = [self._new.popleft() for _ in range(count)]
        images = [image for _, image in batch]
        both = {name: np.stack(embedder.embed_batch(images), axis=1) for name, embedder in self._embedders.items()}
        for row, (image, _) in enumerate(batch):
            # A copy: a view would keep the whole batch for as long as one of its images is remembered.
            image.embeddings = {name: embeddings[row].copy() for name, embeddings in both.items()}

    def _done(self) -> list[tuple[Item, dict[str, np.ndarray]]]:
        done = []
        while self._waiting:
            item, images = self._waiting[0]
            known = [image.embeddings for image in images if image.embeddings is not None]
            if len(known) < len(images):
                break
            self._waiting.popleft()
            predictions = {}
            for name in self._embedders:
                both = np.stack([embeddings[name] for embeddings in known])
                predictions[name] = np.stack(pair_distances(both[:, 0], both[:, 1]), axis=1)
            done.append((item, predictions))
        return done
