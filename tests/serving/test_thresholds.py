import json

import pytest

from serving.thresholds import for_clients


def test_what_clients_need_of_an_evaluation():
    evaluation = {
        "sets": {
            "lfw": {"accuracy": 0.995, "threshold": 1.5, "pairs": 600},
            "one_kind": {"accuracy": None, "threshold": None, "pairs": 10},
        },
        "thresholds": {
            "lfw": {
                "0.01": {"threshold": 1.2, "impostors": 300, "false_accepts": 3},
                "0.001": {"reason": "has 300 pairs of different people, 1,000 are needed"},
            },
            "one_kind": {"0.01": {"reason": "has none"}},
        },
    }
    found = for_clients(json.dumps(evaluation))
    assert found == {
        "lfw": {"accuracy": 0.995, "threshold": pytest.approx(0.25), "far": {"0.01": pytest.approx(0.4)}},
        "one_kind": {},
    }


def test_an_older_evaluation_has_no_thresholds_by_rate():
    assert for_clients('{"sets": {"lfw": {"threshold": 1.0}}}') == {"lfw": {"threshold": 0.5}}
