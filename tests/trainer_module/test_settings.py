"""Settings: what is refused, and that nothing is silently ignored."""

import dataclasses
import json

import pytest

from arcface_common.errors import ConfigError
from arcface_common.features import PixelFormat
from trainer_module.settings import HANDED_OVER, TrainSettings


def test_round_trip():
    settings = TrainSettings(
        steps=7, warmup_steps=2, colour="bgr", pixel_scale=127.5, schedule="step", milestones=(3, 5)
    )
    assert TrainSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert settings.pixel_format() == PixelFormat("bgr", 127.5, 127.5)


def test_what_only_watches_training_is_handed_over_beside_its_result(monkeypatch):
    settings = TrainSettings(steps=0, init_from="/a/run", log_every=3, start_timeout_s=9.0, holdout_every=0, workers=2)
    result = settings.result_settings()
    assert not {"init_from", "log_every", "start_timeout_s", "holdout_every"} & set(result)
    assert result == TrainSettings(steps=0, init_from="/elsewhere", workers=2).result_settings()
    monkeypatch.setenv(HANDED_OVER, settings.hand_over())
    assert TrainSettings.from_dict(result) == settings
    assert TrainSettings.from_dict(TrainSettings().to_dict()) == TrainSettings()
    monkeypatch.delenv(HANDED_OVER)
    with pytest.raises(KeyError, match=HANDED_OVER):
        TrainSettings.from_dict(result)  # never silently from random weights


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, r"train.steps must be positive, or train.init_from be given \(.*\). Received: steps=0"),
        (
            {"margin": 2.0},
            r"train.margin must be at least 0 and below 1.5708 \(The loss's m, .*; 0 is none\). Received: margin=2.0",
        ),
        (
            {"init_centres": "data"},
            "train.init_centres must be left at 'random' without train.init_from",
        ),
        ({"frozen_statistics": True}, "train.frozen_statistics must be left at False without train.init_from"),
        ({"freeze_steps": 5}, r"train.freeze_steps must be left at 0 without train.init_from, which ignores it"),
        (
            {"init_from": "a", "freeze_steps": 9, "steps": 8, "warmup_steps": 1},
            "freeze_steps must be at most train.steps=8",
        ),
        ({"augment": {"jepg": 0.1}}, r"augment must be augmentations: crop, .*; did you mean 'jpeg'"),
        ({"augment": {"crop": 1.5}}, r"augment must be a number of 0 to 1 at crop .* Received: augment={'crop': 1.5}"),
        ({"backbone_rate": 0.0}, r"train.backbone_rate must be above 0 and at most 1 \(What the learning rate is"),
        ({"momentum": 1.0}, r"train.momentum must be at least 0 and below 1 \(Momentum of SGD\)"),
        ({"strategy": "tpu"}, "train.strategy must be mirrored or central "),
        (
            {"workers": 2, "strategy": "central"},
            "strategy must be left at 'mirrored' with train.workers=2",
        ),
        (
            {"workers": 3, "batch_size": 64},
            r"train.batch_size must be a multiple of train.workers=3 \(.*\). Received: batch_size=64",
        ),
        (
            {"learning_rate": float("nan")},
            r"train.learning_rate must be a number, above 0 .*\(The peak: .*\). Received: learning_rate=nan",
        ),
        ({"weight_decay": float("nan")}, "train.weight_decay must be a number, .* Received: weight_decay=nan"),
        ({"scale": float("inf")}, "train.scale must be a number, .* Received: scale=inf"),
        ({"pixel_mean": float("nan")}, "train.pixel_mean must be a number, .* Received: pixel_mean=nan"),
        (
            {"join_cluster": True},
            r"join_cluster must be left at False with train.workers=1, which ignores it .* Received: join_cluster=True",
        ),
        ({"colour": "grey"}, "train.colour must be rgb or bgr "),
        ({"steps": 9}, r"train.warmup_steps must be at most train.steps=9 \(.*\). Received: warmup_steps=100"),
        ({"loss": "arcfase"}, "train.loss must be arcface or cosface or .* Received: loss='arcfase'"),
        (
            {"loss": "adaface", "loss_options": {"m1": 1}},
            "train.loss_options must be options of train.loss=adaface: h, momentum .* Received: loss_options={'m1': 1}",
        ),
        ({"loss_options": {"straight_trough": True}}, "did you mean 'straight_through'"),
        ({"loss_options": {"straight_through": 1}}, "train.loss_options must be true or false at straight_through "),
        ({"loss": "adaface", "loss_options": {"h": -1}}, "train.loss_options must be a number of 0 to 1 at h "),
        ({"loss": "magface", "loss_options": {"lower_norm": 200}}, "must be a lower_norm below the upper_norm "),
        (
            {"loss": "magface", "margin": 0.1},
            "train.loss_options must be a lower_margin, 0.45, below the margin, 0.1, ",
        ),
        ({"loss": "magface", "loss_options": {"lower_margin": 1.5}}, "lower_margin, 1.5, below the margin, 0.8, "),
        (
            {"batch_size": 8, "accumulate": 4, "workers": 2},
            "train.batch_size must be at least 2 x train.workers=2 x train.accumulate=4 with train.norm=batch; group ",
        ),
        (
            {"batch_size": 1, "norm": "sync_batch"},
            "train.batch_size must be at least 2 with train.norm=sync_batch; group takes 1 ",
        ),
        ({"margin": "wide"}, "train.margin must be a number, at least 0 and below 1.5708, or null "),
        ({"loss": "softmax", "scale": 30.0}, "train.scale must be left at 64.0 with train.loss=softmax"),
        (
            {"loss": "softmax", "scale": 30.0, "margin": 0.2, "l2_decay": 0.8, "weight_decay": 0.0},
            "train.margin must be left at null with train.loss=softmax.* Received: margin=0.2; train.scale must be "
            "left at 64.0 with train.loss=softmax.* Received: scale=30.0; train.l2_decay must be left at 1.0 with "
            "train.weight_decay=0.* Received: l2_decay=0.8$",
        ),
        ({"loss": "normface", "margin": 0.2}, "train.margin must be left at null with train.loss=normface"),
        (
            {"sample_rate": 0.1, "optimizer": "adamw"},
            "train.sample_rate must be 1 unless train.optimizer=sgd",
        ),
        (
            {"sample_rate": 0.1, "workers": 2},
            "train.sample_rate must be left at 1.0 with train.workers=2 and train.shard_centres=false",
        ),
        ({"shard_centres": True, "accumulate": 2}, "train.accumulate must be 1 with train.shard_centres=true"),
        (
            {"shard_centres": True, "freeze_steps": 5, "init_from": "x"},
            "train.shard_centres must be false with train.freeze_steps=5",
        ),
        ({"shard_centres": True, "jit": True}, "train.jit must be false with train.shard_centres=true"),
        (
            {"shard_centres": True, "strategy": "central"},
            "train.shard_centres must be false with train.strategy=central",
        ),
        ({"sub_centres": 0}, "train.sub_centres must be at least 1 and at most 16 "),
        ({"margin_warmup_steps": 1001}, "train.margin_warmup_steps must be at most train.steps=1000 "),
        ({"momentum": 0.5, "optimizer": "adamw"}, "momentum must be left at 0.9 with train.optimizer=adamw"),
        ({"l2_decay": 0.8, "optimizer": "adamw"}, "l2_decay must be left at 1.0 with train.optimizer=adamw"),
        ({"l2_decay": 0.8, "weight_decay": 0.0}, "l2_decay must be left at 1.0 with train.weight_decay=0, which"),
        ({"l2_decay": 1.1}, "train.l2_decay must be above 0 and at most 1 "),
        ({"milestones": [500]}, "milestones must be left at \\[\\] with train.schedule=cosine, which ignores it"),
        ({"schedule": "polynomial", "decay_factor": 0.5}, "decay_factor must be left at 0.1 with train.schedule=poly"),
        ({"schedule": "step", "milestones": [500], "power": 1.0}, "power must be left at 2.0 with train.schedule=step"),
        (
            {"schedule": "step"},
            "must be ascending steps between train.warmup_steps=100 and train.steps=1000",
        ),
        ({"schedule": "step", "milestones": [100]}, r"Received: milestones=\[100\]"),
        ({"schedule": "step", "milestones": [300, 200]}, r"at least one .* Received: milestones=\[300, 200\]"),
        ({"schedule": "step", "milestones": [200, 200]}, r"at least one .* Received: milestones=\[200, 200\]"),
        ({"schedule": "step", "milestones": [1000]}, r"at least one .* Received: milestones=\[1000\]"),
        (
            {"schedule": "step", "milestones": [2.5]},
            r"train.milestones must be a list .* Received: milestones=\[2.5\]",
        ),
        ({"schedule": "step", "milestones": [True]}, r"train.milestones must be a list .* milestones=\[True\]"),
        ({"schedule": "step", "milestones": "many"}, r"train.milestones must be a list .* milestones='many'"),
        (
            {"accumulate": 3},
            r"train.batch_size must be a multiple of train.accumulate=3 .* batch_size=64",
        ),
        (
            {"accumulate": 8, "workers": 16},
            r"train.batch_size must be a multiple of train.workers=16 x train.accumulate=8 \(",
        ),
        ({"accumulate": 2, "norm": "sync_batch"}, "train.accumulate must be 1 with train.norm=sync_batch"),
        ({"precision": "float16"}, "train.precision must be float32 or mixed_bfloat16 or mixed_float16 "),
        (
            {"precision": "mixed_float16", "strategy": "central"},
            "must be float32 or mixed_bfloat16 with train.strategy=central",
        ),
        (
            {"precision": "mixed_float16", "sample_rate": 0.1},
            "must be float32 or mixed_bfloat16 with train.sample_rate below 1",
        ),
        ({"jit": True, "norm": "sync_batch"}, "train.jit must be false with train.norm=sync_batch"),
        ({"jit": True, "sample_rate": 0.1}, "train.jit must be false with train.sample_rate below 1"),
        ({"jit": True, "loss": "curricularface", "workers": 2}, "train.jit must be false with .* and several workers"),
        ({"accumulate": 2, "sample_rate": 0.1}, "train.accumulate must be 1 with train.sample_rate below 1"),
        (
            {"accumulate": 2, "loss": "adaface", "workers": 2},
            "train.accumulate must be 1 with train.loss=adaface and several workers",
        ),
        ({"start_timeout_s": 9}, "start_timeout_s must be left at 300.0 with train.workers=1"),
        ({"restarts": 1}, "restarts must be left at 3 with train.workers=1"),
        ({"flip": 1}, "train.flip must be true or false "),
        (
            {"batch_size": True},
            r"batch_size must be a whole number, at least 1 .*\). Received: batch_size=True",
        ),
        ({"batch_size": "8"}, r"train.batch_size must be a whole number, at least 1 .*\). Received: batch_size='8'"),
        ({"scale": "8"}, r"train.scale must be a number, above 0 .*\). Received: scale='8'"),
        ({"stepz": 8}, "expected a setting of train. Received: 'stepz'; did you mean 'steps'?"),
        ({"weight_decay": -1.0}, "train.weight_decay must be at least 0 "),
        ({"keep": "best"}, r"train.keep must be last with train.verify_every=0, .* Received: keep='best'"),
        ({"holdout_every": -1}, r"train.holdout_every must be at least 0 \(.*\). Received: holdout_every=-1"),
    ],
)
def test_refusals_name_the_setting(values, message):
    with pytest.raises(ConfigError, match=message):
        TrainSettings(**values)


def test_a_changed_copy_is_checked_and_no_field_is_changed():
    settings = TrainSettings()
    with pytest.raises(ConfigError, match=r"train.steps must be at least 0 \(.*\). Received: steps=-1"):
        dataclasses.replace(settings, steps=-1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.steps = 3


def test_equal_values_make_an_equal_cache_key():
    """A whole float is the same number of steps, and a whole rate the same rate: JSON tells 1 from 1.0."""
    written = json.dumps(TrainSettings(steps=1000.0, scale=64).result_settings())
    assert written == json.dumps(TrainSettings().result_settings())
    assert '"steps": 1000,' in written and '"scale": 64.0,' in written


def test_a_margin_of_0_is_none_and_null_the_losss_own():
    assert TrainSettings(loss="combined", margin=0, loss_options={"m3": 0.4}).full_margin() == 0
    assert TrainSettings(loss="combined").full_margin() == 0.3
