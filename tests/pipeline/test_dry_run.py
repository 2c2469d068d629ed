"""A dry run before it begins: the settings that it takes, and what it refuses."""

import dataclasses

import pytest

from arcface_common.errors import ConfigError
from pipeline.config import PipelineConfig, make_config
from pipeline.dry_run import dry_run, small
from pipeline.presets import PRESETS
from trainer_module.settings import TrainSettings


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"finetune"}))
def test_every_preset_has_a_small_run_of_the_same_network_and_batch(preset):
    whole = make_config("data", "root", preset)
    found = small(whole, "there", "elsewhere")
    assert (found.data, found.root, found.train.steps, found.train.log_every) == ("there", "elsewhere", 4, 1)
    same = ("backbone", "batch_size", "accumulate", "precision", "optimizer", "loss", "learning_rate", "sample_rate")
    for name in same:
        assert getattr(found.train, name) == getattr(whole.train, name)
    assert found.evaluation.conditions == (f"{whole.evaluated_sets[0]}.accuracy >= 0",)
    assert found.evaluation.sets == whole.evaluated_sets


def test_what_goes_by_steps_fits_into_few():
    settings = ["train.schedule=step", "train.milestones=[300,600]", "train.verify_every=100", "train.keep=best"]
    settings += ["ingest.shards=50", "ingest.holdout=0.01", "train.holdout_every=50", "ingest.verify_identities=0.02"]
    found = small(make_config("data", "root", "demo", [*settings, "ingest.on_bad_record=quarantine"]), "a", "b")
    assert (found.train.milestones, found.train.verify_every, found.train.holdout_every) == ((2,), 4, 4)
    assert (found.ingest.shards, found.ingest.verify_identities, found.ingest.max_bad_share) == (8, 0.5, 1.0)
    assert found.ingest.holdout == 0.01
    few = small(make_config("data", "root", "demo", ["train.steps=2", "train.warmup_steps=2"]), "a", "b").train
    assert (few.steps, few.warmup_steps) == (2, 2)
    assert "verify" in found.evaluation.sets


@pytest.mark.parametrize(("freeze", "steps"), [(0, (0, 4)), (500, (4, 8))])
def test_frozen_steps_come_first(freeze, steps):
    train = TrainSettings(init_from="a run", freeze_steps=freeze, steps=1000, warmup_steps=100)
    found = small(PipelineConfig("data", "root", train=train), "a", "b").train
    assert (found.freeze_steps, found.steps) == steps
    judged = dataclasses.replace(train, steps=0, verify_every=10, keep="best")
    assert small(PipelineConfig("data", "root", train=judged), "a", "b").train.steps == 0


def test_what_needs_other_machines_is_refused():
    train = TrainSettings(workers=2, join_cluster=True, batch_size=64)
    with pytest.raises(ConfigError, match=r"dry_run: expected a training on this machine .* Received: train.join_clus"):
        dry_run(PipelineConfig("data", "root", train=train))
    with pytest.raises(ConfigError, match=r"expected a runner on this machine, .* Received: --runner=FlinkRunner"):
        dry_run(PipelineConfig("data", "root", beam_args=("--runner=FlinkRunner",)))
