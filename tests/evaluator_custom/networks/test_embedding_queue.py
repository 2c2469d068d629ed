"""The queue before a network: same answers whatever the groups, full batches, nothing embedded twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator_custom.networks.embedder import IMAGES_PER_CALL, Embedder
from evaluator_custom.networks.embedding_queue import EmbeddingQueue


class _ByHash(Embedder):
    """A network whose embedding is a pure function of the bytes, and which writes down what it was asked for."""

    def __init__(self, seed=0):
        self.seed, self.calls = seed, []

    def embed_batch(self, images):
        self.calls.append(images)
        rows = [np.random.default_rng([self.seed, *image]).standard_normal((2, 8), np.float32) for image in images]
        both = np.stack(rows)
        return both[:, 0], both[:, 1]

    def facts(self):
        return {}


# Groups of pairs over few images (which repeat) or many (which don't).
_GROUPS = st.integers(1, 400).flatmap(
    lambda images: st.lists(
        st.lists(st.tuples(st.integers(0, images), st.integers(0, images)), min_size=1, max_size=90),
        max_size=8,
    )
)


def _bytes(group):
    return [image.to_bytes(2, "big") for pair in group for image in pair]


@given(_GROUPS, st.sampled_from([1, 50, 10_000]))
def test_predictions_are_those_of_the_embedder_in_order(groups, remembered):
    embedders = {"a": _ByHash(1), "b": _ByHash(2)}
    queue = EmbeddingQueue(embedders, remembered)
    done = [answer for i, group in enumerate(groups) for answer in queue.add(i, _bytes(group))] + queue.flush()
    assert [item for item, _ in done] == list(range(len(groups)))
    for (_, predictions), group in zip(done, groups, strict=True):
        assert list(predictions) == ["a", "b"]
        for seed, name in enumerate("ab", 1):
            np.testing.assert_allclose(predictions[name], _ByHash(seed).predict(_bytes(group)), rtol=1e-12)
    assert queue.flush() == []


@given(_GROUPS)
def test_batches_are_full_and_no_image_comes_twice(groups):
    embedder = _ByHash()
    queue = EmbeddingQueue({"": embedder})
    for group in groups:
        queue.add(None, _bytes(group))
        assert {len(call) for call in embedder.calls} <= {IMAGES_PER_CALL}
    queue.flush()
    asked = [image for call in embedder.calls for image in call]
    assert sorted(asked) == sorted({image for group in groups for image in _bytes(group)})
    assert all(len(call) == IMAGES_PER_CALL for call in embedder.calls[:-1])


def test_what_is_remembered_outlives_a_flush_and_is_bounded():
    embedder = _ByHash()
    queue = EmbeddingQueue({"": embedder}, remembered=2)
    for pair in ([b"a", b"b"], [b"a", b"b"], [b"c", b"b"], [b"a", b"b"]):
        queue.add(None, pair)
        queue.flush()
    # c takes the place of a, which was asked for longest ago, and a then that of c.
    assert embedder.calls == [[b"a", b"b"], [b"c"], [b"a"]]


def test_a_group_comes_out_as_soon_as_its_images_are_known():
    queue = EmbeddingQueue({"": _ByHash()})
    images = [i.to_bytes(2, "big") for i in range(IMAGES_PER_CALL)]
    assert queue.add("first", images[:-2]) == []
    assert [item for item, _ in queue.add("second", images[-2:])] == ["first", "second"]
    assert [item for item, _ in queue.add("third", images[:2])] == ["third"]


def test_an_error_of_the_network_is_not_swallowed():
    class Failing(_ByHash):
        def embed_batch(self, images):
            raise RuntimeError("out of memory")

    queue = EmbeddingQueue({"": Failing()})
    queue.add(0, [b"a", b"b"])
    with pytest.raises(RuntimeError, match="out of memory"):
        queue.flush()
