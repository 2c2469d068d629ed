"""What a person reads at the end of a run."""

from pipeline.summary import verdict_lines, verification_table

FIGURES = {"pairs": 600.0, "accuracy": 0.985, "accuracy_std": 0.0229, "tar": 0.8933, "xnorm": 11.771}
CONDITION = {"set": "lfw", "figure": "accuracy", "lower_bound": 0.95, "value": 0.985, "holds": True}


def test_table():
    head, row = verification_table({"lfw": FIGURES}).splitlines()
    assert head.split() == ["set", "pairs", "accuracy", "±", "std", "TAR@FAR=1e-3", "XNorm"]
    assert row.split() == ["lfw", "600", "0.9850", "±", "0.0229", "0.8933", "11.771"]


def test_first_model():
    lines = verdict_lines({"blessed": True, "conditions": [CONDITION], "baseline": None})
    assert lines == ["blessed", "  lfw accuracy 0.9850 ≥ 0.95", "  first model: these bounds alone decide"]


def test_a_model_below_its_bound_beside_the_latest_blessed_one():
    failed = {**CONDITION, "value": 0.91, "holds": False}
    missing = {**CONDITION, "set": "cfp_fp", "value": None, "holds": False}
    lines = verdict_lines({"blessed": False, "conditions": [failed, missing], "baseline": {"lfw": FIGURES}})
    assert lines == [
        "NOT blessed",
        "  lfw accuracy 0.9100 < 0.95",
        "  cfp_fp accuracy not evaluated < 0.95",
        "  blessed before: lfw 0.9850",
    ]
