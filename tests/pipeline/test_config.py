"""Presets and overrides."""

import pytest

from pipeline.config import PRESETS, ConfigError, make_config, setting_names


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
            "evaluation.sets=lfw,cfp_fp",
            "evaluation.min_accuracy.cfp_fp=0.9",
        ],
    )
    assert config.train.steps == 10
    assert config.train.learning_rate == 0.001
    assert config.train.flip is False
    assert config.train.backbone == "iresnet50"
    assert config.evaluation.sets == ("lfw", "cfp_fp")
    assert config.evaluation.min_accuracy == {"lfw": 0.99, "cfp_fp": 0.9}


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
        ("evaluation.min_accuracy.cplfw=0.9", "must name sets of .* Received: 'cplfw'"),
        ("evaluation.min_accuracy={}", "must bound at least one set"),
    ],
)
def test_wrong_overrides_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        make_config("data", "root", "demo", [override])


def test_unknown_preset():
    with pytest.raises(ConfigError, match="expected a preset of .*demo.* Received: preset='big'"):
        make_config("data", "root", "big")


def test_setting_names_cover_all_sections():
    names = setting_names()
    assert {"ingest.seed", "train.workers", "evaluation.sets"} <= set(names)
