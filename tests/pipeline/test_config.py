"""Presets and overrides."""

import dataclasses
import json

import pytest

from arcface_common.errors import ConfigError, DataError
from arcface_common.features import VERIFICATION_SETS
from arcface_common.setting import _range, described
from pipeline.config import make_config
from pipeline.overrides import load_yaml
from pipeline.presets import PRESETS, about, preset_file
from pipeline.sections import SECTIONS
from tests.pipeline.training_runs import model_json, training_run
from trainer_module.loss_facts import LOSSES


def test_every_preset_is_what_its_file_says(tmp_path):
    for name in PRESETS:
        config = make_config("data", "root", name, (), training_run(tmp_path / "run") if name == "finetune" else None)
        with open(preset_file(name), "rb") as file:
            text = file.read()
        for section, settings in load_yaml(text).items():
            made = dataclasses.asdict(getattr(config, section))
            assert {field: made[field] for field in settings} == {
                field: tuple(value) if isinstance(value, list) else value for field, value in settings.items()
            }
        assert config.preset == name
        begin = "--init-from IMPORT" if name == "finetune" else f"--preset {name}"
        assert f"# Command: arcface-tfx run {begin} ".encode() in text
        assert b"# Cost: " in text and b"# Result: " in text
        assert about(name)[0].isupper() and about(name).endswith(".") and "Command" not in about(name)


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
        (
            "train.stepz=1",
            r"expected a setting \(`arcface-tfx settings`.*Received: 'train.stepz'; did you mean 'train.steps'",
        ),
        ("train.steps", "set expects section.name=value"),
        (
            "train.steps=many",
            r"steps must be a whole number, at least 0 \(Optimizer steps; .*\). Received: steps='many'",
        ),
        ("train.steps=1.5", "train.steps must be a whole number, .* Received: steps=1.5"),
        ("train.flip=1", "train.flip must be true or false .* Received: flip=1"),
        ("train.steps.x=1", "train.steps has no entries"),
        ("train.margin=4", r"train.margin must be at least 0 and below 1.5708 \(The loss's m, in radians"),
        ("evaluation.sets=lfw,lfw", "evaluation.sets must be different names"),
        (
            "evaluation.sets=cfp_fp",
            r"evaluation.conditions must name sets of evaluation.sets=\('cfp_fp',\); give both. Received: 'lfw'",
        ),
        ("evaluation.conditions=[]", "evaluation.conditions: expected at least one condition"),
        ("evaluation.conditions=lfw > 1", "evaluation.conditions: expected a condition .* Received: 'lfw > 1'"),
        ("evaluation.conditions=1", "evaluation.conditions: expected a condition .* Received: '1'"),
        (
            "evaluation.conditions={a: b}",
            "evaluation.conditions must be a list of text .* Received: conditions={'a': 'b'}",
        ),
        ("evaluation.conditions=[[a]]", "evaluation.conditions must be a list .* Received: "),
        ("evaluation.sets=lwf", "evaluation.sets: did you mean 'lfw'. Received: 'lwf'"),
        ("evaluation.sets=../lfw", "evaluation.sets must be names of <set>.bin files. Received: '../lfw'"),
        ("evaluation.sets=", "evaluation.sets must be names of <set>.bin files. Received: ''"),
        ("evaluation.conditions=a/b.accuracy >= 0.9", "evaluation.conditions must name sets, each a <set>.bin"),
        ("evaluation.conditions=lfw.accuracy >= nan", "expected a number in"),
        ("train.batch_sise=8", "did you mean 'train.batch_size'"),
        ("train.backbone_options={dropout: 0.1", "train.backbone_options: expected a value as YAML. Received: "),
        ("train.backbone_options=" + "[" * 5000, "train.backbone_options: expected a value as YAML. Received: "),
        (
            "train.backbone_options=[1, 2]",
            r"must be entries by name .* Received: backbone_options=\[1, 2\]",
        ),
        (
            "train.backbone_options={when: !!timestamp 99999-1}",
            r"as YAML\. .*\(a tag, !!timestamp in line 1",
        ),
        (
            "train.jit=!!bool abc",
            r"train\.jit: .* Received: '!!bool abc' \(a tag, !!bool in line 1\)",
        ),
        ('train.learning_rate=!!float ""', "a tag, !!float"),
        ("train.backbone=!!str x", "a tag, !!str"),
        (
            "train.steps=" + "[" * 50_000,
            r"Received: '\[{200}\.\.\.' \(lists or maps in each other, too many",
        ),
        ("train.steps=" + "1" * 5000, r"Received: '1{200}\.\.\.' \(a number of 5,000 characters in line 1\)$"),
        ("train.backbone_options={epsilon: .nan}", "not a finite number"),
        ("train.backbone_options.epsilon={a: b}", "train.backbone_options must be .*dict, expected numbers"),
        ("train.backbone=[iresnet50]", "train.backbone must be text .* Received: backbone="),
        ('train.init_from="a\\0b"', "train.init_from must be text .*a character that can't be printed"),
        ("train.learning_rate=nan", "train.learning_rate must be a number, above 0 .* Received: learning_rate='nan'"),
        ("train.learning_rate=.inf", "Received: learning_rate=inf"),
        ("train.learning_rate=.nan", "Received: learning_rate=nan"),
        ("train.learning_rate=1e999", "Received: learning_rate=inf"),
        ("train.learning_rate=true", "train.learning_rate must be a number, above 0 .* Received: learning_rate=True"),
        ("train.learning_rate=null", "train.learning_rate must be a number, above 0 .* Received: learning_rate=null"),
        (
            "train.learning_rate=2026-01-01",
            "train.learning_rate must be a number, .* Received: learning_rate='2026-01-01'",
        ),
        ("train.steps=inf", "train.steps must be a whole number, .* Received: steps='inf'"),
        ("train.steps=99999999999", "train.steps must be a whole number, .*beyond 2,147,483,647"),
        ("train.steps=true", "train.steps must be a whole number, .* Received: steps=True"),
        (
            "ingest.holdout=nan",
            "holdout must be a number, at least 0 and at most 0.5 .* Received: holdout='nan'",
        ),
        ("ingest.max_bad_share=nan", "ingest.max_bad_share must be a number, .* Received: max_bad_share='nan'"),
        ("train.milestones=", r"train.milestones must be a list .* Received: milestones=null"),
        ("train.milestones=[1.5]", r"train.milestones must be a list of whole numbers .* Received: milestones=\[1.5\]"),
        ("train.milestones=[a]", r"train.milestones must be a list .* Received: milestones=\['a'\]"),
        ("train.milestones=1e20", r"train.milestones must be a list .*beyond 2,147,483,647"),
        ("ingest.seed=" + "9" * 4000, "ingest.seed must be a whole number, .*beyond 2,147,483,647"),
        ("train.scale=1e39", r"train.scale must be above 0 and at most 1,000,000 .* Received: scale=1e\+39$"),
        ("train.scale=1e-46", r"train.scale must be a number, above 0 .* Received: scale=1e-46 \(beyond float32\)"),
        ("ingest.holdout=1.1754942e-38", r"Received: holdout=1.1754942e-38 \(beyond float32\)"),
        ("train.learning_rate=1e9", "train.learning_rate must be above 0 and at most 100 "),
        ("train.pixel_mean=-1e30", "train.pixel_mean must be at least -65,535 and at most 65,535 "),
        ("train.workers=99999", "train.workers must be at least 1 and at most 4,096 "),
        (
            "train.loss=CosFace",
            "train.loss must be arcface or cosface .* Received: loss='CosFace'; did you mean 'cosface'",
        ),
        ("train.precision=float16", "Received: precision='float16'; did you mean 'mixed_float16'"),
        ("train.schedule=poly", "Received: schedule='poly'; did you mean 'polynomial'"),
        ("train.optimizer=Adam", "Received: optimizer='Adam'; did you mean 'adamw'"),
        ("Train.Steps=1", "Received: 'Train.Steps'; did you mean 'train.steps'"),
        ("=1", r"expected a setting \(.* Received: ''$"),
        ("train.lr=0.1", "Received: 'train.lr'; did you mean 'train.learning_rate'"),
        ("bs=8", "Received: 'bs'; did you mean 'train.batch_size'"),
        ("steps=1", "Received: 'steps'; did you mean 'train.steps'"),
        ("train.holdout=0.1", "Received: 'train.holdout'; did you mean 'ingest.holdout'"),
        ("warmup=1", "Received: 'warmup'; did you mean 'train.warmup_steps'"),
        ("train.fp16=true", "Received: 'train.fp16'; did you mean 'train.precision'"),
        ("train.epochs=3", "Received: 'train.epochs'; did you mean 'train.steps'"),
        ("train.resume=true", "Received: 'train.resume'$"),
        ("train.flop=1", "Received: 'train.flop'; did you mean 'train.flip'"),
        ("train.unrelated=1", "Received: 'train.unrelated'$"),
        ("train.milestones=[100]", r"must be left at \[\] with .*Received: milestones=\[100\]$"),
        ("quite.different=1", "Received: 'quite.different'$"),
        ('train.steps="3"', r"train.steps must be a whole number, .* Received: steps='3'"),
        (
            "train.holdout_every=10",
            r"train.holdout_every must be left at 2000 with ingest.holdout=0, which ignores it \(.*\). Received: ",
        ),
        ("train.verify_sets=lfw", r"train.verify_sets must be left at .* with train.verify_every=0, which ignores it"),
        ("ingest.max_bad_share=0.1", "must be left at 0.001 with ingest.on_bad_record=fail, which ignores it"),
    ],
)
def test_wrong_overrides_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        make_config("data", "root", "demo", [override])


def test_a_training_is_judged_by_sets_that_are_evaluated():
    with pytest.raises(ConfigError, match=r"train.verify_sets must be different names .* Received: verify_sets="):
        make_config("data", "root", "demo", ["train.verify_every=5", "train.verify_sets=[lfw, lfw]"])
    named = ["train.verify_every=5", "train.verify_sets=[own, lfw]"]
    expected = "train.verify_sets must name sets that are evaluated, lfw, cfp_ff, cfp_fp, agedb_30; .* Received: 'own'"
    with pytest.raises(ConfigError, match=expected):
        make_config("data", "root", "demo", named)
    assert make_config("data", "root", "demo", [*named, "evaluation.sets=own,lfw"]).train.verify_sets == ("own", "lfw")


def test_text_is_taken_as_it_is_written():
    config = make_config(
        "/data",
        "/root",
        "demo",
        ["train.init_from=010", "train.backbone=null", "evaluation.sets=[2024, lfw]"],
        here=False,
    )
    assert (config.train.init_from, config.train.backbone) == ("010", "null")
    assert config.evaluation.sets == ("2024", "lfw")


def test_numbers_are_read_as_people_write_them():
    assert make_config("data", "root", "demo", ["train.steps=010"]).train.steps == 10
    assert make_config("data", "root", "demo", [f"ingest.holdout={2.0**-126}"]).ingest.holdout == 2.0**-126
    config = make_config("data", "root", "demo", ["train.steps=2_000", "train.learning_rate=1e-3", "train.scale=32"])
    assert (config.train.steps, config.train.learning_rate, config.train.scale) == (2000, 1e-3, 32.0)
    for text, steps in (("[300, 5e2]", (300, 500)), ("300, 5_00", (300, 500)), ("300", (300,))):
        given = ["train.schedule=step", f"train.milestones={text}"]
        assert make_config("data", "root", "demo", given).train.milestones == steps


def test_entries_of_a_dict_add_up():
    given = ["train.backbone_options.dropout=0.1", "train.backbone_options.epsilon=1e-5"]
    assert make_config("data", "root", "demo", given).train.backbone_options == {"dropout": 0.1, "epsilon": 1e-5}
    again = [*given, "train.backbone_options={momentum: 0.5}", "train.backbone_options.dropout=0"]
    assert make_config("data", "root", "demo", again).train.backbone_options == {"momentum": 0.5, "dropout": 0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "maximum recursion depth"),
        ("[]", "TypeError"),
        ("\udcff\x00", "JSONDecodeError"),
        ("{}", "KeyError.'pixel_format'"),
        (model_json(options=3), "options must be of JSON's objects, not 3"),
        (model_json(backbone=None), "backbone must be of JSON's strings, not None"),
        (model_json(embedding_dim="x"), "embedding_dim must be a whole number of 1 to .* not 'x'"),
        (model_json(pixel_format={"colour": "rgb", "mean": float("nan"), "scale": 1}), "mean must be a finite number"),
        (model_json(pixel_format={"colour": "rgb", "mean": 1}), "KeyError.'scale'"),
        (
            model_json(options={"embedding_dim": "x"}),
            "train.embedding_dim must be a whole number, .* embedding_dim='x'",
        ),
        (model_json(options={"a": {"b": 1}}), "train.backbone_options must be entries by name"),
    ],
)
def test_a_broken_model_json_is_named(tmp_path, content, message):
    (tmp_path / "model.json").write_text(content, errors="surrogateescape")
    with pytest.raises(DataError, match=f"^{tmp_path}.*{message}"):
        make_config("data", "root", "demo", ["train.steps=0"], str(tmp_path))


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
    with pytest.raises(
        ConfigError, match="a preset of demo, finetune, .*, r50, .* Received: preset='r5O'; did you mean 'r50'"
    ):
        make_config("data", "root", "r5O")


def test_every_setting_has_words_a_range_and_a_default_that_it_takes():
    known = list(described(SECTIONS))
    assert {"ingest.seed", "train.workers", "evaluation.sets"} <= {one.name for one in known}
    assert len(known) == sum(len(dataclasses.fields(kind)) for kind in SECTIONS.values())
    for one in known:
        assert one.about[0].isupper() and one.about.endswith("."), one
        assert one.range
        if one.name != "train.init_from":  # "" is none
            written = f"{one.name}={json.dumps(one.default)}"
            config = make_config("data", "root", "demo", [written])
            section, field = one.name.split(".")
            assert getattr(getattr(config, section), field) == one.default


def test_every_number_has_an_end_that_reason_bears():
    for section, kind in SECTIONS.items():
        for name, field in kind.__pydantic_fields__.items():
            if field.annotation is float:
                assert " at most " in f" {_range(field)}" or "below" in _range(field), f"{section}.{name}"
    for name, facts in LOSSES.items():
        for option in facts.options.values():
            assert option.high < 1e6, name


def test_a_run_begins_with_a_preset_that_is_named():
    with pytest.raises(
        ConfigError, match="expected preset, train.backbone .*, or init_from .* Presets are demo, .*, r50, .*: `"
    ):
        make_config("data", "root", None)
    with pytest.raises(ConfigError, match="expected init_from, which names the network that finetune trains further"):
        make_config("data", "root", "finetune")
    with pytest.raises(ConfigError, match="Received: 'train.lr'; did you mean 'train.learning_rate'"):
        make_config("data", "root", None, ["train.lr=0.1"])


def test_a_preset_that_nobody_named_is_named_where_it_is_in_the_way(tmp_path):
    start = training_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="frozen_statistics=True, which the preset finetune sets"):
        make_config("data", "root", None, ["train.embedding_dim=7"], start)


def test_warm_ups_are_shares_of_the_steps_unless_they_are_set(tmp_path):
    def warm_ups(*overrides, preset="demo", init_from=None):
        train = make_config("data", "root", preset, overrides, init_from).train
        return train.warmup_steps, train.margin_warmup_steps

    assert warm_ups() == (45, 540)
    assert warm_ups("train.steps=40") == (2, 24)
    assert warm_ups("train.margin_warmup_steps=7", "train.steps=40") == (2, 7)
    assert warm_ups("train.steps=40", preset=None, init_from=training_run(tmp_path / "run")) == (4, 0)
    assert warm_ups("train.steps=1000", preset="r50") == (10, 0)


def test_milestones_of_a_preset_are_shares_of_the_steps():
    def milestones(*overrides):
        return make_config("data", "root", "r50_casia", overrides).train.milestones

    assert milestones() == (20000, 28000)
    assert milestones("train.steps=64000") == (40000, 56000)
    assert milestones("train.steps=32", "train.milestones=[7]") == (7,)


@pytest.mark.parametrize("value", ["1:30", "0o17", "0x10", "2001-12-14"])
def test_what_only_some_call_a_number_is_none(value):
    with pytest.raises(ConfigError, match=r"train\.steps must be a whole number"):
        make_config("data", "root", "demo", [f"train.steps={value}"])


def test_aliases_which_multiply_are_refused_at_once():
    bomb = "[&a0 [1,1], " + ", ".join(f"&a{i} [*a{i - 1},*a{i - 1}]" for i in range(1, 34)) + "]"
    with pytest.raises(ConfigError, match=r"backbone_options\.x: expected a value as YAML\. .*\(an alias in line 1\)"):
        make_config("data", "root", "demo", [f"train.backbone_options.x={bomb}"])


def test_an_entry_that_stands_twice_is_refused():
    with pytest.raises(ConfigError, match=r"train\.backbone_options.* \('dropout' twice in line 1\)"):
        make_config("data", "root", "demo", ["train.backbone_options={dropout: 0.1, dropout: 0.2}"])


def test_conditions_and_sets_are_given_together():
    with pytest.raises(ConfigError, match=r"must name sets of evaluation.sets=\('own',\); give both. Received: 'lfw'"):
        make_config("data", "root", "demo", ["evaluation.sets=own"])


def test_an_abbreviation_does_not_end_what_is_said_of_a_setting():
    with pytest.raises(ConfigError, match=r"\(Further arguments .*, e\.g\. \{dropout: 0\.1\}; one alone is "):
        make_config("data", "root", "demo", ["train.backbone_options=[1]"])
