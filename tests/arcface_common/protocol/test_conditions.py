"""Conditions: one line of text each, read back as it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcface_common.errors import DataError
from arcface_common.protocol.conditions import (
    FIGURES,
    SLICE_FIGURES,
    Condition,
    asked_conditions,
    parse_all,
    sets_of,
)

NAMES = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)
RATES = st.floats(0, 1)
VALUES = st.builds(
    Condition,
    set=NAMES,
    figure=st.sampled_from([name for name in FIGURES if name != "pairs"]),
    kind=st.just("value"),
    sign=st.sampled_from([">=", "<="]),
    bound=RATES,
)
CHANGES = st.builds(
    Condition,
    set=NAMES,
    figure=st.just("accuracy"),
    kind=st.just("change"),
    sign=st.just(">="),
    bound=st.floats(-1, 1),
)
GAPS = st.builds(
    Condition,
    set=NAMES,
    figure=st.sampled_from(SLICE_FIGURES),
    kind=st.just("gap"),
    sign=st.just("<="),
    bound=RATES,
    column=st.sampled_from(["age", "age group", "device-2"]),
)


LEAKS = st.builds(Condition, set=NAMES, figure=st.just("leaks"), kind=st.just("leak"), sign=st.just("<="), bound=RATES)


@given(st.one_of(VALUES, CHANGES, GAPS, LEAKS))
def test_the_text_is_read_back(condition):
    assert Condition.parse(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("lfw.accuracy >= 0.99", Condition("lfw", "accuracy", "value", ">=", 0.99)),
        ("  my.set.xnorm<=30 ", Condition("my.set", "xnorm", "value", "<=", 30.0)),
        ("lfw.accuracy  change >= -1e-3", Condition("lfw", "accuracy", "change", ">=", -0.001)),
        ("lfw.leaks <= 0.01", Condition("lfw", "leaks", "leak", "<=", 0.01)),
        ("lfw.tar gap age group <= 0.02", Condition("lfw", "tar", "gap", "<=", 0.02, "age group")),
    ],
)
def test_each_form(text, condition):
    assert Condition.parse(text) == condition


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lfw accuracy 0.9", r"expected a condition `SET\.FIGURE >= NUMBER`.* Received: 'lfw accuracy 0\.9'"),
        ("lfw.accuracy > 0.9", "expected a condition"),
        ("lfw.accuracy >= high", "expected a condition"),
        ("lfw.accuracy change gap age <= 0.1", "expected a condition"),
        ("lfw.precision >= 0.9", "expected a value of accuracy, .* Received: 'precision'"),
        ("lfw.tar change >= 0", "expected a change of accuracy. Received: 'tar'"),
        ("lfw.eer gap age <= 0.1", "expected a gap of accuracy, tar, far. Received: 'eer'"),
        ("lfw.accuracy change <= 0", "expected a change with >=. Received: '<='"),
        ("lfw.accuracy gap age >= 0", "expected a gap with <=. Received: '>='"),
        ("lfw.leaks >= 0.5", "expected a leak with <=. Received: '>='"),
        ("lfw.leaks change >= 0", "expected a change of accuracy. Received: 'leaks'"),
        ("lfw.leaks gap age <= 0", "expected a gap of accuracy, tar, far. Received: 'leaks'"),
        ("lfw.leaks <= 1.5", r"expected a number in \[0, 1\]. Received: 1.5"),
        ("lfw.accuracy >= 99", r"expected a number in \[0, 1\]. Received: 99.0"),
        ("lfw.accuracy >= nan", r"expected a number in \[0, 1\]. Received: nan"),
        ("lfw.xnorm >= inf", "expected a number in"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        Condition.parse(text)


def test_all_conditions_of_a_configuration():
    conditions = parse_all(["lfw.accuracy >= 0.9", "mine.tar >= 0.5", "lfw.far <= 0.1"])
    assert sets_of(conditions) == ("lfw", "mine")
    with pytest.raises(ValueError, match="at least one condition"):
        parse_all([])
    with pytest.raises(ValueError, match="expected different conditions"):
        parse_all(["lfw.accuracy >= 0.9", "lfw.accuracy>=0.90"])


def test_what_is_not_known_does_not_hold():
    lower, upper = Condition.parse("lfw.tar >= 0"), Condition.parse("lfw.tar <= 0.5")
    assert lower.holds(0.0) and upper.holds(0.5)
    assert not upper.holds(0.51)
    for unknown in (None, float("nan")):
        assert not lower.holds(unknown)
        assert not upper.holds(unknown)


@pytest.mark.parametrize(
    "line",
    [
        "lfw.accuracy >= 0.95, lfw.accuracy change >= 0",
        "[lfw.accuracy >= 0.95, lfw.accuracy change >= 0]",
        ' ["lfw.accuracy >= 0.95", "lfw.accuracy change >= 0",] ',
    ],
)
def test_a_line_of_conditions(line):
    assert asked_conditions(line, ["lfw"]) == parse_all(["lfw.accuracy >= 0.95", "lfw.accuracy change >= 0"])


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", "conditions: expected at least one condition"),
        ("lfw.accuracy", "conditions: .* Received: 'lfw.accuracy'"),
        ("lwf.accuracy >= 0", "conditions: expected sets that are evaluated, lfw. Received: 'lwf'"),
    ],
)
def test_a_line_that_cannot_be_held(line, error):
    with pytest.raises(DataError, match=error):
        asked_conditions(line, ["lfw"])
