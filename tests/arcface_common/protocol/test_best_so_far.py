"""The best blessed model so far: no sequence of small losses passes it, and its record travels from run to run."""

import dataclasses

import numpy as np
import pytest

from arcface_common.protocol.best_so_far import Record, better, dumps, loads, pairs_digest
from arcface_common.protocol.comparison import compare
from arcface_common.protocol.conditions import Condition
from arcface_common.protocol.scored_pairs import ScoredPairs

PAIRS = 6000
SAME = np.arange(PAIRS) % 2 == 0


def model(wrong, folds="contiguous"):
    """A model that judges so many pairs wrongly, those of a better model among them."""
    distances = np.where(SAME, 0.8, 1.8)
    chosen = np.random.default_rng(0).permutation(PAIRS)[:wrong]
    distances[chosen] = np.where(SAME[chosen], 1.8, 0.8)
    return ScoredPairs(distances, SAME, np.ones(PAIRS), folds=folds)


def blessed_in_a_row(against_best):
    """How many models, each 5 pairs worse than the one before, the gate blesses; at most 20."""
    condition = Condition.parse("lfw.accuracy change >= 0")
    latest, best = model(10), Record.of("0", model(10), "d")
    for step in range(20):
        candidate = model(10 + 5 * (step + 1))
        changes = [compare(candidate, other) for other in (latest, *([best] if against_best else []))]
        if not all(condition.holds(found.significant) for found in changes):
            return step
        latest, best = candidate, better(best, Record.of(str(step + 1), candidate, "d"))
        assert best.model == "0"  # a lower one, though blessed, does not lower the best
    return 20


def test_small_losses_do_not_add_up():
    assert blessed_in_a_row(against_best=False) == 20
    # 5 pairs alone: p = 0.06; 10 pairs: p = 0.002.
    assert blessed_in_a_row(against_best=True) == 1


def test_a_better_model_becomes_the_best_and_the_older_of_equals_stays():
    first, same_again, higher = (
        Record.of(name, model(wrong), "d") for name, wrong in (("a", 50), ("b", 50), ("c", 49))
    )
    assert better(first, same_again) is first
    assert better(first, higher) is higher
    assert better(higher, first) is higher
    assert better(None, first) is better(first, None) is first
    assert better(None, None) is None


def test_a_record_keeps_what_a_comparison_needs():
    pairs = model(123)
    record = Record.of("runs/model/7", pairs, "digest")
    again = loads(dumps({"lfw": record}))["lfw"]
    assert again == record
    assert again.accuracy == pairs.accuracy
    np.testing.assert_array_equal(again.correct, pairs.correct)
    assert Record.of("m", ScoredPairs(np.zeros(4), SAME[:4], np.ones(4)), "d") is None


def test_a_record_of_other_pairs_or_folds_is_not_compared_with():
    images = np.arange(2 * PAIRS, dtype=np.uint64).reshape(-1, 2)
    digest = pairs_digest(images, SAME)
    record = Record.of("m", model(5), digest)
    assert record.is_of(model(7), digest)
    assert not record.is_of(model(7, "stratified"), digest)
    other = images.copy()
    other[17, 1] += np.uint64(1)
    for changed in (pairs_digest(other, SAME), pairs_digest(images, ~SAME), pairs_digest(images[::-1], SAME[::-1])):
        assert changed != digest
        assert not record.is_of(model(7), changed)
    assert pairs_digest(np.asfortranarray(images), SAME) == digest


@pytest.mark.parametrize("text", ["", "[1]", '{"lfw": 3}', '{"lfw": {"model": "m"}}', "{"])
def test_a_damaged_record_is_an_error_that_shows_it(text):
    with pytest.raises(ValueError, match="expected records of models by set. Received: "):
        loads(text)


@pytest.mark.parametrize(
    "field, value",
    [("accuracy", float("nan")), ("accuracy", 2), ("accuracy", "x"), ("wrong_pairs", [10**9]), ("wrong_pairs", 5),
     ("wrong_pairs", [-1]), ("pairs", "6"), ("folds", "none"), ("model", 1), ("digest", None)],
)  # fmt: skip
def test_a_record_of_another_type_or_range_is_refused(field, value):
    record = Record("m", 6, "d", "contiguous", 0.5, [1, 5])
    assert loads(dumps({"lfw": record})) == {"lfw": record}
    with pytest.raises(ValueError, match="expected records of models by set. Received: .*lfw"):
        loads(dumps({"lfw": dataclasses.replace(record, **{field: value})}))
