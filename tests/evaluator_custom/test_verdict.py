"""Verdicts without networks: what is said of figures that no condition looks at."""

import numpy as np
import pytest

from arcface_common.protocol.best_so_far import Record
from arcface_common.protocol.conditions import parse_all
from arcface_common.protocol.scored_pairs import ScoredPairs
from arcface_common.protocol.verdict_warnings import verdict_warnings
from evaluator_custom.verdict import make_verdict

IS_SAME = np.arange(600) % 2 == 0


def _scored(mistakes):
    """600 pairs of which every n-th is far on the wrong side."""
    wrong = np.arange(600) % mistakes == 0 if mistakes else np.zeros(600, bool)
    return ScoredPairs(np.where(IS_SAME ^ wrong, 0.4, 1.9), IS_SAME, name="lfw")


def _said(conditions, candidate, baseline, best=None):
    record = {} if best is None else {"lfw": Record.of("/models/3", best, "digest")}
    before = None if baseline is None else {"lfw": baseline}
    verdict = make_verdict({"lfw": candidate}, before, record, parse_all(conditions), {}, "contiguous", {})
    assert all(condition["holds"] for condition in verdict["conditions"])
    return [line for line in verdict_warnings(verdict) if "no condition looks" in line]


def test_a_fall_that_no_condition_looks_at_is_said():
    [line] = _said(["lfw.accuracy >= 0.5"], _scored(7), _scored(0))
    assert "lfw: its accuracy is 0.1433 below that of the latest blessed model (McNemar: p < 0.0001)" in line
    assert '"lfw.accuracy change >= 0" would' in line


def test_a_slow_fall_is_said_of_the_best_blessed_model():
    [line] = _said(["lfw.accuracy >= 0.5"], _scored(7), _scored(8), _scored(0))
    assert "below that of the best blessed model" in line


@pytest.mark.parametrize(
    ("conditions", "candidate", "baseline"),
    [
        (["lfw.accuracy change >= -1"], 7, 0),  # a condition looks at it
        (["lfw.accuracy >= 0.5"], 7, None),
        (["lfw.accuracy >= 0.5"], 7, 7),
        (["lfw.accuracy >= 0.5"], 0, 7),
        (["lfw.accuracy >= 0.5"], 299, 599),  # a pair or two are chance
    ],
)
def test_nothing_else_is_said(conditions, candidate, baseline):
    assert not _said(conditions, _scored(candidate), None if baseline is None else _scored(baseline))
