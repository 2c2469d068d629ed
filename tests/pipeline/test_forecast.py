"""What a whole run will take: the arithmetic, and how a person reads it."""

import dataclasses
import datetime

import pytest

from components.datasets.sample import RecordCounts
from pipeline.checks.memory import Available, needed_bytes
from pipeline.config import make_config
from pipeline.forecast import Measured, Whole, forecast, forecast_lines

LEFT = Available(20_000_000_000, "this machine")
MEASURED = Measured(
    images=400,
    identities=40,
    parameters=43_628_480,
    embedding_dim=512,
    frozen_step=None,
    step=0.5,
    memory=5_000_000_000,
    pair=0.01,
    nodes=60.0,
)
R50 = ["train.backbone=iresnet50", "train.batch_size=128", "train.steps=1000"]


def _config(*settings):
    return make_config("data", "root", "r50", [*R50, *settings])


def _whole(config, images=10_000, identities=200, **pairs):
    return Whole.of(config, RecordCounts(images, identities), pairs)


def _found(*settings, measured=MEASURED, **pairs):
    config = _config(*settings)
    return forecast(config, _whole(config, **pairs), measured, LEFT)


def test_rates_times_the_whole():
    found = _found(lfw=6000, cfp_fp=7000)
    assert found.seconds == pytest.approx(
        {"first class centres": 0, "training": 500, "checks while training": 0, "evaluation": 130, "all else": 60}
    )
    assert found.total_seconds == pytest.approx(690)
    assert found.images_per_second == pytest.approx(256)
    assert found.epochs == pytest.approx(12.8)
    assert (found.images, found.identities, found.centre_parameters) == (10_000, 200, 200 * 512)
    assert found.to_dict()["total_seconds"] == pytest.approx(690)


def test_frozen_steps_have_a_rate_of_their_own(tmp_path):
    config = _config()
    train = dataclasses.replace(config.train, init_from="a run", freeze_steps=400)
    measured = dataclasses.replace(MEASURED, frozen_step=0.2)
    found = forecast(dataclasses.replace(config, train=train), _whole(config), measured, LEFT)
    assert found.seconds["training"] == pytest.approx(400 * 0.2 + 600 * 0.5)
    data = dataclasses.replace(train, init_centres="data")
    found = forecast(dataclasses.replace(config, train=data), _whole(config), measured, LEFT)
    assert found.seconds["first class centres"] == pytest.approx(10_000 * 0.01 / 4)


def test_what_is_kept_out_is_not_trained_on_but_judged():
    settings = ("ingest.verify_identities=0.1", "ingest.holdout=0.05", "train.holdout_every=400")
    found = _found(*settings, "evaluation.verify_pairs=2000", lfw=6000)
    assert (found.images, found.identities) == (8550, 180)
    assert found.seconds["evaluation"] == pytest.approx(65)  # 1,000 images are kept out: 500 pairs' worth
    assert found.seconds["checks while training"] == pytest.approx(3 * 450 * 0.01 / 4)
    lines = forecast_lines(found)
    assert "data         about 8,550 images of 180 identities" in lines
    assert "training     1,000 steps of 128 images, about 15.0 epochs" in lines
    few = _found(*settings, "evaluation.verify_pairs=200")
    assert few.seconds["evaluation"] == pytest.approx(2)


def test_verification_while_training_goes_by_its_sets():
    every = _found("train.verify_every=300", lfw=6000, cfp_fp=7000)
    assert every.seconds["checks while training"] == pytest.approx(4 * 130)
    one = _found("train.verify_every=300", "train.verify_sets=[lfw]", lfw=6000, cfp_fp=7000)
    assert one.seconds["checks while training"] == pytest.approx(4 * 60)


def test_memory_is_that_of_the_check_before_a_run():
    for more in ((), ("train.optimizer=adamw", "train.momentum=0.9"), ("train.sample_rate=0.1",), ("train.workers=2",)):
        found = _found(*more)
        assert found.memory is not None
        assert sum(found.memory.values()) == needed_bytes(_config(*more).train, 200)
        assert min(found.memory.values()) > 0
    two = _found("train.workers=2").memory
    weights = "weights and class centres"
    assert two[weights] == 2 * _found().memory[weights] == 2 * 4 * (43_628_480 + 200 * 512)
    assert _found("train.backbone=my.own:network").memory is None


def test_a_person_reads_it():
    lines = forecast_lines(_found(lfw=6000), datetime.datetime(2026, 1, 31, 23, 55))
    text = "\n".join(lines)
    assert "data         10,000 images of 200 identities" in lines
    assert "network      iresnet50, 43.63 M parameters, and 0.10 M of the class centres" in lines
    assert "training     1,000 steps of 128 images, 12.8 epochs" in lines
    assert "rate         256.0 images/s, 0.50 s a step, measured with the class centres of 40 identities" in lines
    assert "time         8 min 20 s    training" in lines
    assert "             10 min 20 s   in all, until 2026-02-01 00:05 if it begins now" in lines
    assert "20.0 GB were left of this machine" in text
    assert "activations" in text
    assert "no verdict: it saw 400 images" in lines[-1]
    own = "\n".join(forecast_lines(_found("train.backbone=my.own:network", lfw=6000)))
    assert "memory       5.0 GB held by the dry run's training; 20.0 GB were left" in own


def test_a_model_that_is_judged_as_it_is_has_no_training():
    config = _config()
    train = dataclasses.replace(config.train, init_from="a run", steps=0, warmup_steps=0)
    measured = dataclasses.replace(MEASURED, step=None, memory=0, images=0)
    found = forecast(dataclasses.replace(config, train=train), _whole(config, lfw=6000), measured, LEFT)
    assert (found.images_per_second, found.memory, found.total_seconds) == (None, None, pytest.approx(120))
    assert not any(line.startswith(("training", "rate", "memory")) for line in forecast_lines(found))
