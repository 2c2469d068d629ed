"""Settings: what is refused, and that nothing is silently ignored."""

import pytest

from arcface_common.features import PixelFormat
from trainer_module.settings import HANDED_OVER, TrainSettings


def test_round_trip():
    settings = TrainSettings(steps=7, warmup_steps=2, colour="bgr", pixel_scale=127.5)
    assert TrainSettings.from_dict(settings.to_dict()) == settings
    assert settings.pixel_format() == PixelFormat("bgr", 127.5, 127.5)


def test_what_only_watches_training_is_handed_over_beside_its_result(monkeypatch):
    settings = TrainSettings(steps=0, init_from="/a/run", log_every=3, start_timeout_s=9.0, holdout_every=0)
    result = settings.result_settings()
    assert not {"init_from", "log_every", "start_timeout_s", "holdout_every"} & set(result)
    assert result == TrainSettings(steps=0, init_from="/elsewhere").result_settings()
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
            r"train.margin must be at least 0 and below 1.5708 \(ArcFace's m, in radians: below pi/2\). Received: ",
        ),
        ({"momentum": 1.0}, r"train.momentum must be at least 0 and below 1 \(Momentum of SGD\)"),
        ({"strategy": "tpu"}, "train.strategy must be one of mirrored, central "),
        ({"workers": 2, "strategy": "central"}, "train.strategy must be mirrored with workers=2"),
        (
            {"workers": 3, "batch_size": 64},
            r"train.batch_size must be a multiple of workers=3 \(.*\). Received: batch_size=64",
        ),
        (
            {"learning_rate": float("nan")},
            r"train.learning_rate must be a finite number \(The peak: .*\). Received: learning_rate=nan",
        ),
        ({"weight_decay": float("nan")}, "train.weight_decay must be a finite number"),
        ({"scale": float("inf")}, "train.scale must be a finite number"),
        ({"pixel_mean": float("nan")}, "train.pixel_mean must be a finite number"),
        (
            {"join_cluster": True},
            r"train.join_cluster must be false with train.workers=1 \(.*\). Received: join_cluster=True",
        ),
        ({"colour": "grey"}, "train.colour must be one of rgb, bgr "),
        ({"steps": 9}, r"train.warmup_steps must be at most train.steps=9 \(.*\). Received: warmup_steps=100"),
        ({"margin_warmup_steps": 1001}, "train.margin_warmup_steps must be at most train.steps=1000 "),
        ({"weight_decay": -1.0}, "train.weight_decay must be at least 0 "),
        ({"holdout_every": -1}, r"train.holdout_every must be at least 0 \(.*\). Received: holdout_every=-1"),
    ],
)
def test_refusals_name_the_setting(values, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**values)
