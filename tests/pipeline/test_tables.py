"""What a person reads at the end of a run."""

from pipeline.tables import ingest_lines, verdict_lines, verification_table

FIGURES = {"pairs": 600.0, "accuracy": 0.985, "accuracy_std": 0.0229, "tar": 0.8933, "xnorm": 11.771}
CONDITION = {
    "text": "lfw.accuracy >= 0.95",
    "set": "lfw",
    "kind": "value",
    "value": 0.985,
    "holds": True,
}
CHANGE = {
    "text": "lfw.accuracy change >= 0",
    "set": "lfw",
    "kind": "change",
    "value": None,
    "holds": True,
    "p_value": None,
    "difference": None,
}
VERIFICATION = {
    "sets": {"lfw": FIGURES},
    "baseline": None,
    "conditions": [CONDITION, CHANGE],
    "leaks": {},
    "blessed": True,
}


def test_table():
    head, row = verification_table({"lfw": FIGURES}).splitlines()
    assert head.split() == ["set", "pairs", "accuracy", "±", "std", "TAR@FAR=1e-3", "XNorm"]
    assert row.split() == ["lfw", "600", "0.9850", "±", "0.0229", "0.8933", "11.771"]


def test_table_of_a_set_that_is_too_small():
    figures = dict.fromkeys(FIGURES)
    _, row = verification_table({"mine": {**figures, "pairs": 9.0}}).splitlines()
    assert row.split() == ["mine", "9", *"too few for the protocol".split()]


def test_first_model():
    assert verdict_lines(VERIFICATION) == [
        "blessed",
        "  holds  lfw.accuracy >= 0.95: 0.9850",
        "  holds  lfw.accuracy change >= 0: first model: no comparison",
        "  first model: no comparison, the conditions on its own figures decide",
    ]


def test_a_model_below_its_bound_beside_the_latest_blessed_one():
    missing = {**CONDITION, "text": "cfp_fp.tar >= 0", "set": "cfp_fp", "value": None, "holds": False}
    conditions = [
        {**CONDITION, "value": 0.91, "holds": False},
        missing,
        {**CONDITION, "text": "lfw.far gap age <= 0.1", "kind": "gap", "value": None, "holds": False},
        {**CHANGE, "value": 0.0, "p_value": 0.313, "difference": -0.0025},
        {**CHANGE, "value": -0.075, "p_value": 0.000123, "difference": -0.075, "holds": False},
    ]
    verification = {**VERIFICATION, "blessed": False, "conditions": conditions, "baseline": {"lfw": FIGURES}}
    assert verdict_lines(verification) == [
        "NOT blessed",
        "  FAILS  lfw.accuracy >= 0.95: 0.9100",
        "  FAILS  cfp_fp.tar >= 0: no data of the set cfp_fp",
        "  FAILS  lfw.far gap age <= 0.1: not defined on so few pairs",
        "  holds  lfw.accuracy change >= 0: -0.0025, McNemar p = 0.31, not significant: counts as 0",
        "  FAILS  lfw.accuracy change >= 0: -0.0750, McNemar p = 0.00012",
        "  blessed before: lfw 0.9850",
    ]


def test_a_leak_comes_before_the_verdict():
    leak = {
        "images": 7701,
        "shared_images": 12,
        "pairs": 6000,
        "shared_pairs": 20,
        "identities": 0,
        "shared_identities": 0,
    }
    warning, verdict, *_ = verdict_lines({**VERIFICATION, "leaks": {"lfw": leak}})
    assert warning.startswith("WARNING lfw: 12 of 7,701 images are in the training set")
    assert verdict == "blessed"


def test_what_was_ingested_and_what_was_not():
    counts = {
        "records": 5_822_653,
        "train_records": 5_764_426,
        "holdout_records": 0,
        "identities": 85_742,
        "turned": 0,
        "left_out_identities": 0,
        "left_out_images": 0,
    }
    assert ingest_lines({**counts, "quarantined": 0, "quarantine": None}) == ["5,822,653 images of 85,742 identities"]
    lines = ingest_lines(
        {
            **counts,
            "holdout_records": 58_227,
            "turned": 12,
            "left_out_identities": 1_200,
            "left_out_images": 3_400,
            "quarantined": 2,
            "quarantine": "a/records.jsonl",
        }
    )
    assert lines[1:] == [
        "5,764,426 of them train, 58,227 are held out",
        "12 images turned as their EXIF orientation says",
        "1,200 identities with too few images (3,400 images) left out",
        "WARNING 2 bad records quarantined: a/records.jsonl",
    ]
