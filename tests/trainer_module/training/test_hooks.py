"""When hooks are called, what the watch for finite numbers says, and how long a training will take."""

import dataclasses
import math

import pytest

from arcface_common.duration import in_hours
from arcface_common.run_log import logged_to
from tests.serving.server.certificates import self_signed
from trainer_module.settings import TrainSettings
from trainer_module.training.curve import Curve
from trainer_module.training.hooks import Metrics, is_due
from trainer_module.training.hooks.finite import Finite
from trainer_module.training.hooks.report import Report
from trainer_module.training.hooks.tell import Tell

SETTINGS = TrainSettings(learning_rate=0.25, warmup_steps=0, schedule="step", milestones=(2,), steps=100, log_every=3)
GOOD = {"loss": 1e30, "gradient_norm": 1e30, "loss_scale": 1.0}


def _finite(settings=SETTINGS):
    return Finite(settings, lambda step: [100 * step + i for i in range(10)])


def _metrics(*history):
    return Metrics(history, len(history), 1.0, 0.5)


@pytest.mark.parametrize(("every", "expected"), [(0, [10]), (1, list(range(1, 11))), (4, [4, 8, 10]), (5, [5, 10])])
def test_a_hook_is_called_each_so_many_steps_and_after_the_last(every, expected):
    hook = _finite()
    hook.every = every
    assert [step for step in range(1, 11) if is_due(hook, step, last=10)] == expected


@pytest.mark.parametrize(("loss", "norm"), [(float("nan"), 1.0), (float("inf"), 1.0), (2.0, float("nan"))])
def test_numbers_that_are_none_end_training_and_name_step_records_and_what_to_try(loss, norm, tmp_path):
    bad = {**GOOD, "loss": loss, "gradient_norm": norm}
    expected = (
        r"a lower train.learning_rate, a longer train.warmup_steps, train.clip_norm=5, train.margin_warmup_steps, a "
        r"look at these records. Checkpoints of the steps before are kept. "
        rf"Received: loss={loss:g}, gradient_norm={norm:g} at step 3, learning rate 0.025, records 300, 301, 302, 303, "
        r"304, 305, 306, 307 and 2 more, see the log$"
    )
    with logged_to(str(tmp_path / "log")), pytest.raises(FloatingPointError, match=expected):
        _finite()(4, None, _metrics(GOOD, bad, {**bad, "loss": math.nan}))  # of steps 2, 3 and 4
    assert (
        "records of step 3, their keys in train.rec: 300, 301, 302, 303, 304, 305, 306, 307, 308, 309"
        in (tmp_path / "log").read_text()
    )
    _finite()(3, None, _metrics(GOOD, GOOD))


def test_a_gradient_that_overflows_is_fine_while_the_loss_is_scaled():
    overflow = {"loss": 1.0, "gradient_norm": math.inf, "loss_scale": 2.0}
    _finite()(3, None, _metrics(overflow))
    settings = dataclasses.replace(SETTINGS, precision="mixed_float16", clip_norm=1.0)
    expected = "train.warmup_steps, train.margin_warmup_steps, train.precision=mixed_bfloat16, a look .* at step 3"
    with pytest.raises(FloatingPointError, match=expected):
        _finite(settings)(3, None, _metrics({**overflow, "loss": math.nan}))


@pytest.mark.parametrize(
    ("seconds", "expected"), [(45.4, "45 s"), (100, "1 min 40 s"), (12_000, "3 h 20 min"), (183_700, "2 d 3 h")]
)
def test_times_to_wait(seconds, expected):
    assert in_hours(seconds) == expected


def test_the_end_is_foretold_once_by_the_steps_after_the_first(capsys):
    tell = Tell(dataclasses.replace(SETTINGS, batch_size=8), Curve(), lambda name, value: None)
    values = {**GOOD, "penalty": 1.0, "accuracy": 0.5}
    for step in (18, 21, 24):  # 10 s for the first step, then 2 s each
        tell(step, None, Metrics([values] * 3, step, 10.0 + 2.0 * (step - 1), 10.0))
    said = capsys.readouterr().err
    assert said.count("images/s") == 1
    Tell(dataclasses.replace(SETTINGS, batch_size=8), Curve(), lambda name, value: None)(
        71, None, Metrics([values] * 3, 71, 10.0 + 2.0 * 70, 10.0)
    )
    assert "images/s" not in capsys.readouterr().err  # 58 s more
    assert "  4 images/s: about 2 min 38 s for 79 more steps, until " in said


def test_progress_that_nobody_takes_is_said_once_and_training_goes_on(tmp_path, monkeypatch, capfd):
    (tmp_path / "token").write_text("t")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", "https://127.0.0.1:9/status")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_CA_CERT", self_signed(tmp_path, "127.0.0.1")[0])
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_TOKEN", str(tmp_path / "token"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    report = Report(SETTINGS)
    for step in (3, 100):
        report(step, None, _metrics({**GOOD, "accuracy": 0.5}))
    said = capfd.readouterr().err
    assert said.count("WARNING https://127.0.0.1:9/status: expected to take the training's progress. Received: ") == 1
    assert "refused" in said
