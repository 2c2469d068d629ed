"""Presets and overrides."""

import pytest

from pipeline.config import PRESETS, ConfigError, make_config, setting_names
from trainer_module.features import VERIFICATION_SETS


def test_every_preset_is_valid():
    for name in PRESETS:
        config = make_config("data", "root", name)
        for setting, value in PRESETS[name].settings.items():
            section, field = setting.split(".")
            assert getattr(getattr(config, section), field) == value


def test_overrides_come_after_the_preset_in_the_fields_type():
    config = make_config(
        "data",
        "root",
        "r50",
        [
            "train.steps=10",
            "train.learning_rate=1e-3",
            "train.flip=false",
            "evaluation.sets=lfw, cfp_fp",
            "evaluation.conditions=[lfw.accuracy >= 0.9, cfp_fp.tar gap age <= 0.1]",
        ],
    )
    assert config.train.steps == 10
    assert config.train.learning_rate == 0.001
    assert config.train.flip is False
    assert config.train.backbone == "iresnet50"
    assert config.evaluation.sets == ("lfw", "cfp_fp")
    assert config.evaluation.conditions == ("lfw.accuracy >= 0.9", "cfp_fp.tar gap age <= 0.1")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=1", "expected a setting of .*train.steps.* Received: 'train.stepz'"),
        ("train.steps", "--set expects section.name=value"),
        ("train.steps=many", "train.steps expects a value of type .*int.* Received: 'many'"),
        ("train.steps=1.5", "train.steps expects"),
        ("train.flip=1", "train.flip expects"),
        ("train.steps.x=1", "train.steps has no entries"),
        ("train.margin=4", "train.margin must lie in"),
        ("evaluation.sets=lfw,lfw", "evaluation.sets must be different names"),
        ("evaluation.sets=cfp_fp", r"evaluation.conditions must name sets of \('cfp_fp',\). Received: 'lfw'"),
        ("evaluation.conditions=[]", "evaluation.conditions: expected at least one condition"),
        ("evaluation.conditions=lfw > 1", "evaluation.conditions: expected a condition .* Received: 'lfw > 1'"),
        ("evaluation.conditions=1", "evaluation.conditions expects a value of type"),
    ],
)
def test_wrong_overrides_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        make_config("data", "root", "demo", [override])


def test_no_sets_means_the_usual_ones_and_those_of_conditions():
    usual = make_config("data", "root", "demo").evaluation
    assert usual.evaluated_sets == VERIFICATION_SETS
    assert usual.required_sets == ("lfw",)
    own = make_config("data", "root", "demo", ["evaluation.conditions=[mine.tar >= 0.5]"]).evaluation
    assert own.evaluated_sets == (*VERIFICATION_SETS, "mine")
    assert own.required_sets == ("mine",)
    named = make_config("data", "root", "demo", ["evaluation.sets=[cfp_fp, lfw]"]).evaluation
    assert named.evaluated_sets == named.required_sets == ("cfp_fp", "lfw")


def test_unknown_preset():
    with pytest.raises(ConfigError, match="expected a preset of .*demo.* Received: preset='big'"):
        make_config("data", "root", "big")


def test_setting_names_cover_all_sections():
    names = setting_names()
    assert {"ingest.seed", "train.workers", "evaluation.sets"} <= set(names)
