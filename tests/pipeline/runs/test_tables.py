"""What a person reads at the end of a run."""

from pipeline.runs.tables import ingest_lines, verdict_lines, verification_table

FIGURES = {"pairs": 600.0, "accuracy": 0.985, "accuracy_std": 0.0229, "tar_1e2": 0.9433, "tar": 0.8933, "xnorm": 11.771}
CONDITION = {
    "text": "lfw.accuracy >= 0.95",
    "set": "lfw",
    "kind": "value",
    "value": 0.985,
    "holds": True,
    "reason": None,
}
CHANGE = {
    "text": "lfw.accuracy change >= 0",
    "set": "lfw",
    "kind": "change",
    "value": None,
    "holds": True,
    "p_value": None,
    "difference": None,
    "best": None,
    "reason": None,
}
VERIFICATION = {
    "sets": {"lfw": FIGURES},
    "baseline": None,
    "conditions": [CONDITION, CHANGE],
    "best": {},
    "undefined": {"lfw": {}},
    "warnings": {"lfw": []},
    "folds": "contiguous",
    "leaks": {},
    "blessed": True,
}


def test_table():
    head, row = verification_table({"lfw": FIGURES}, {"lfw": {}})
    assert head.split() == ["set", "pairs", "accuracy", "±", "std", "TAR@FAR=1e-2", "TAR@FAR=1e-3", "XNorm"]
    assert row.split() == ["lfw", "600", "0.9850", "±", "0.0229", "0.9433", "0.8933", "11.771"]


def test_a_figure_that_is_not_defined_is_a_dash_with_one_line_of_reason():
    few = {**dict.fromkeys(FIGURES), "pairs": 9.0}
    reasons = dict.fromkeys(("accuracy", "accuracy_std", "tar", "tar_1e2"), "too few")
    no_tar = {**FIGURES, "tar": None}
    lines = verification_table(
        {"mine": few, "lfw": no_tar, "cfp_fp": no_tar},
        {"mine": {**reasons, "xnorm": "broken"}, "lfw": {"tar": "needs more"}, "cfp_fp": {"tar": "needs more"}},
    )
    assert lines[1].split() == ["mine", "9", "-", "-", "-", "-"]
    assert lines[2].split() == ["lfw", "600", "0.9850", "±", "0.0229", "0.9433", "-", "11.771"]
    assert lines[4:] == [
        "-  accuracy, TAR@FAR=1e-2, TAR@FAR=1e-3 of mine: too few",
        "-  XNorm of mine: broken",
        "-  TAR@FAR=1e-3 of lfw, cfp_fp: needs more",
    ]


def test_first_model():
    assert verdict_lines(VERIFICATION) == [
        "blessed",
        "  holds  lfw.accuracy >= 0.95: 0.9850",
        "  holds  lfw.accuracy change >= 0: first model: no comparison",
        "  first model: no comparison, the conditions on its own figures decide",
    ]


def test_a_model_below_its_bound_beside_the_latest_blessed_one():
    missing = {**CONDITION, "text": "cfp_fp.tar >= 0", "set": "cfp_fp", "value": None, "holds": False}
    missing["reason"] = "no data of the set cfp_fp"
    against_best = {"model": "runs/model/3", "accuracy": 0.9983, "value": -0.01, "difference": -0.01, "p_value": 1e-9}
    conditions = [
        {**CONDITION, "value": 0.91, "holds": False},
        missing,
        {**CONDITION, "text": "lfw.far gap age <= 0.1", "kind": "gap", "value": None, "holds": False, "reason": "few"},
        {**CHANGE, "value": 0.0, "p_value": 0.313, "difference": -0.0025},
        {**CHANGE, "value": -0.075, "p_value": 0.000123, "difference": -0.075, "holds": False},
        {**CHANGE, "value": 0.0, "p_value": 0.06, "difference": -0.001, "best": against_best, "holds": False},
    ]
    verification = {**VERIFICATION, "blessed": False, "conditions": conditions, "baseline": {"lfw": FIGURES}}
    verification["best"] = {"lfw": {"accuracy": 0.9983, "model": "runs/model/3"}}
    assert verdict_lines(verification) == [
        "NOT blessed",
        "  FAILS  lfw.accuracy >= 0.95: 0.9100",
        "  FAILS  cfp_fp.tar >= 0: no data of the set cfp_fp",
        "  FAILS  lfw.far gap age <= 0.1: few",
        "  holds  lfw.accuracy change >= 0: -0.0025, McNemar p = 0.31, not significant: counts as 0",
        "  FAILS  lfw.accuracy change >= 0: -0.0750, McNemar p = 0.00012",
        "  FAILS  lfw.accuracy change >= 0: -0.0010, McNemar p = 0.06, not significant: counts as 0; against the best "
        "so far (0.9983) -0.0100, McNemar p = 1e-09",
        "  blessed before: lfw 0.9850",
        "  best so far: lfw 0.9983 by runs/model/3",
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


def test_what_spoils_the_figures_and_other_folds_are_said():
    verification = {**VERIFICATION, "warnings": {"lfw": ["no pairs of one person in fold 1"]}, "folds": "stratified"}
    assert verdict_lines(verification)[:3] == [
        "WARNING lfw: no pairs of one person in fold 1",
        "folds: stratified",
        "blessed",
    ]


def test_what_was_ingested_and_what_was_not():
    counts = {
        "records": 5_822_653,
        "train_records": 5_764_426,
        "holdout_records": 0,
        "verify_records": 0,
        "verify_identities": 0,
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
            "verify_records": 1_300,
            "verify_identities": 20,
            "turned": 12,
            "left_out_identities": 1_200,
            "left_out_images": 3_400,
            "quarantined": 2,
            "quarantine": "a/records.jsonl",
        }
    )
    assert lines[1:] == [
        "5,764,426 of them train, 58,227 are held out",
        "20 identities (1,300 images) kept out of training: the set verify is drawn of them",
        "12 images turned as their EXIF orientation says",
        "1,200 identities with too few images (3,400 images) left out",
        "WARNING 2 bad records quarantined: a/records.jsonl",
    ]
