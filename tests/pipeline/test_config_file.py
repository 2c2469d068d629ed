"""Settings in a file: what `--set` takes, by section, and what a run wrote of its own."""

import dataclasses

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from arcface_common.errors import ConfigError, DataError
from pipeline.cli import main
from pipeline.config import make_config
from pipeline.config_file import ConfigFile, as_override
from pipeline.overrides import load_yaml
from pipeline.presets import preset_file
from pipeline.runs import settings


def _read(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return ConfigFile.read(str(path))


def test_it_means_what_set_means(tmp_path):
    file = _read(
        tmp_path,
        "preset: demo\ndata: faces\ntrain:\n  steps: 300\n  learning_rate: 1e-3\n  backbone_options: {a: [1, null]}\n"
        "evaluation:\n  sets: [lfw, '010']\n  conditions: ['lfw.accuracy >= 0.9']\n",
    )
    assert (file.preset, file.data) == ("demo", "faces")
    config = make_config("faces", "root", None, file=file)
    asked = ("train.steps=300", "train.learning_rate=1e-3", "train.backbone_options={a: [1, null]}")
    sets = ("evaluation.sets=lfw,010", "evaluation.conditions=[lfw.accuracy >= 0.9]")
    assert config == make_config("faces", "root", "demo", (*asked, *sets))
    assert config.train.warmup_steps == 15  # the preset's share of 300


@pytest.mark.parametrize("preset", ["demo", "r50"])
def test_a_run_s_own_file_repeats_it(tmp_path, preset):
    config = make_config("/faces", "/root", preset, ("train.steps=300", "ingest.holdout=0.1", "train.norm=group"))
    file = _read(tmp_path, settings.dump(settings.effective(config)))
    assert (file.data, file.root) == ("/faces", "/root")
    assert make_config(file.data, file.root, None, file=file) == config
    assert make_config(file.data, file.root, None, ("train.steps=250",), file=file).train.steps == 250


def test_shares_of_a_file_s_steps_are_taken_of_others(tmp_path, capfd):
    file = _read(tmp_path, settings.dump(settings.effective(make_config("/faces", "/root", "demo"))))
    train = make_config("/faces", "/root", None, ("train.steps=300",), file=file).train
    assert (train.warmup_steps, train.margin_warmup_steps) == (15, 180)
    said = capfd.readouterr().err
    assert f"train.warmup_steps=15: the share of train.steps that {file.path} has" in said
    assert "train.margin_warmup_steps=180: the share" in said
    asked = ("train.steps=300", "train.warmup_steps=45", "train.margin_warmup_steps=7")
    assert make_config("/faces", "/root", None, asked, file=file).train.warmup_steps == 45
    alone = _read(tmp_path, "train: {warmup_steps: 30}")
    train = make_config("/faces", "/root", "demo", ("train.steps=300",), file=alone).train
    assert (train.warmup_steps, train.margin_warmup_steps) == (30, 180)
    assert "share" not in capfd.readouterr().err


def test_a_refused_setting_of_a_file_or_preset_says_where_it_is_from(tmp_path):
    softmax = "train.loss=softmax"
    both = "train.margin_warmup_steps and train.scale; write train.margin_warmup_steps=0 train.scale=64.0"
    with pytest.raises(
        ConfigError, match=rf"Received: margin_warmup_steps=540; .* Received: scale=16.0; the preset demo sets {both}$"
    ):
        make_config("/faces", "/root", "demo", (softmax,))
    with pytest.raises(ConfigError, match=r"scale=16.0, which the preset demo sets; write train.scale=64.0$"):
        make_config("/faces", "/root", "demo", (softmax, "train.margin_warmup_steps=0"))
    asked = (softmax, "train.margin_warmup_steps=0", "train.scale=64")
    assert make_config("/faces", "/root", "demo", asked).train.loss == "softmax"
    with pytest.raises(ConfigError, match=r"batch_size=64, which the preset demo sets; write train.batch_size=…$"):
        make_config("/faces", "/root", "demo", ("train.accumulate=3",))
    with pytest.raises(
        ConfigError, match=r"milestones=\[.*\], which the preset r50_casia sets; write train.milestones=\[\]$"
    ):
        make_config("/faces", "/root", "r50_casia", ("train.schedule=cosine",))
    file = _read(tmp_path, "train: {margin_warmup_steps: 40}")
    asked = (softmax, "train.scale=64")
    with pytest.raises(ConfigError, match=rf"=40, which {file.path} sets; write train.margin_warmup_steps=0$"):
        make_config("/faces", "/root", "demo", asked, file=file)
    each = (
        rf"{file.path} sets train.margin_warmup_steps, the preset demo sets train.scale; write .*=0 train.scale=64.0$"
    )
    with pytest.raises(ConfigError, match=each):
        make_config("/faces", "/root", "demo", (softmax,), file=file)
    with pytest.raises(ConfigError, match=r"Received: margin_warmup_steps=3$") as raised:
        make_config("/faces", "/root", "demo", (*asked, "train.margin_warmup_steps=3"))
    assert raised.value.__cause__ is not raised.value  # who looks for what is behind it would never end


def test_a_file_that_names_its_network_needs_no_preset(tmp_path):
    file = ConfigFile.read(preset_file("demo"))
    own, demo = make_config("/faces", "/root", None, file=file), make_config("/faces", "/root", "demo")
    assert (own.preset, demo.preset) == ("", "demo")
    assert own == dataclasses.replace(demo, preset="")
    again = _read(tmp_path, settings.dump(settings.effective(own)))
    assert make_config(again.data, "/root", None, file=again) == own


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "trian: {steps: 3}",
            "data, root, ingest, train, evaluation, kubeflow. Received: 'trian'; did you mean 'train'",
        ),
        ("train: {'steps=5 #': 3}", "expected the name of a setting. Received: 'train.steps=5 #'"),
        ("- 3", "expected sections of settings. Received: list"),
        ("", "expected sections of settings. Received: NoneType"),
        ("train: 3", "train: expected settings by name. Received: 3"),
        ("preset: 3", "preset: expected text. Received: 3"),
        ("train: {steps: [", "expected settings as YAML. Received: "),
        ("a: &a {b: 1}\ntrain: *a", "expected settings as YAML. Received: an alias"),
        ("train:\n  steps: 1\n  seed: 2\n  steps: 3", "Received: 'steps' twice in line 4"),
        ("train: {check_memory: !!bool abc}", "Received: a tag, !!bool in line 1"),
        ("train: false", "train: expected settings by name. Received: False"),
        ("beam_args: [--runner=FlinkRunner]", "Received: 'beam_args', which a run writes and nobody reads"),
    ],
)
def test_what_is_no_such_file(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        _read(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"train: {a: \xe9}", "no text that can be read"), (b"preset: demo\0", "no text that can be read")],
)
def test_what_is_no_text(tmp_path, content, said):
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=f"mine.yaml: expected settings as YAML. Received: {said}"):
        ConfigFile.read(str(tmp_path / "mine.yaml"))


def test_a_file_too_large_is_told_with_its_limit(tmp_path):
    with open(tmp_path / "mine.yaml", "wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(DataError, match="MAX_TABLE_BYTES"):
        ConfigFile.read(str(tmp_path / "mine.yaml"))


@given(st.text(st.characters(codec=None)))
def test_any_text_comes_through(text):
    name, _, written = as_override("train.backbone_options.x", text).partition("=")
    assert (name, load_yaml(written)) == ("train.backbone_options.x", text)


def test_another_place_of_beams_is_said(tmp_path, capfd):
    config = dataclasses.replace(make_config("/faces", "/root", "demo"), beam_args=("--runner=FlinkRunner",))
    _read(tmp_path, settings.dump(settings.effective(config)))
    assert "Beam's options are not taken from it; --beam-runner and --beam-arg say where" in capfd.readouterr().err


def test_an_unknown_setting_in_it_is_named(tmp_path, capfd):
    (tmp_path / "mine.yaml").write_text("preset: demo\ntrain: {stepz: 3}\n")
    arguments = ["run", "--config", str(tmp_path / "mine.yaml"), "--root", str(tmp_path / "root")]
    missing = CliRunner().invoke(main, arguments)
    assert (missing.exit_code, "Missing option '--data'" in missing.output) == (2, True)
    (tmp_path / "mine.yaml").write_text(f"preset: demo\ndata: {tmp_path}\nroot: {tmp_path}/there\n")
    without_root = CliRunner().invoke(main, arguments[:3])
    assert f"root: {tmp_path}/there, as {tmp_path}/mine.yaml has it" in without_root.output + capfd.readouterr().err
    (tmp_path / "mine.yaml").write_text("preset: demo\ntrain: {stepz: 3}\n")
    refused = CliRunner().invoke(main, [*arguments, "--data", str(tmp_path)])
    assert refused.exit_code == 2
    told = refused.output + capfd.readouterr().err
    assert f"{tmp_path}/mine.yaml: expected a setting" in told
    assert "Received: 'train.stepz'; did you mean 'train.steps'?" in told
