"""The command line: quick answers, and errors that name the file, with exit code 2."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.cli.pipeline_option import pipeline_options
from pipeline.config import make_config
from pipeline.presets import PRESETS, preset_file
from tests.helpers import ROOT, write_pairs, write_records


def _cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.parametrize(
    "command",
    [
        "synth",
        "inspect",
        "align",
        "convert",
        "unpack",
        "run",
        "compile",
        "evaluate",
        "embed",
        "verify",
        "serve",
        "presets",
        "settings",
    ],
)
def test_help_answers_without_tensorflow(command):
    code = (
        "import sys; from pipeline.cli import main\n"
        f"try: main([{command!r}, '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'scipy', 'sklearn', 'matplotlib', 'pydantic'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "Usage:" in result.stdout
    assert "heavy: []" in result.stdout


def test_flags_of_ingest_become_settings_before_those_by_hand():
    @click.command()
    @pipeline_options
    def command(overrides: tuple[str, ...], **_: object) -> None:
        click.echo(json.dumps(overrides))

    flags = ["--on-bad-record", "quarantine", "--min-images-per-identity", "5", "--holdout", "0.1"]
    flags += ["--verify-identities", "0.02"]
    result = CliRunner().invoke(command, ["--data", "faces", *flags, "--set", "ingest.holdout=0.2"])
    given = json.loads(result.output)
    assert sorted(given[:4]) == [
        "ingest.holdout=0.1",
        "ingest.min_images_per_identity=5",
        "ingest.on_bad_record=quarantine",
        "ingest.verify_identities=0.02",
    ]
    config = make_config("data", "root", "demo", given)
    assert (config.ingest.on_bad_record, config.ingest.holdout) == ("quarantine", 0.2)
    assert CliRunner().invoke(command, ["--on-bad-record", "ignore"]).exit_code == 2


def test_presets_as_json():
    r50 = json.loads(_cli("presets", "--json").stdout)["r50"]
    assert (r50["train.backbone"], r50["train.learning_rate"]) == ("iresnet50", 0.1)
    assert r50["about"].startswith("ResNet50-IR + ArcFace as InsightFace trains it")


def test_presets_as_text_are_their_files():
    printed = CliRunner().invoke(main, ["presets"]).output
    for name in PRESETS:
        with open(preset_file(name)) as file:
            assert f"{name}: {file.name}\n{textwrap.indent(file.read(), '    ')}" in printed


def _refused(tmp_path: Path, data: Path, *more: str) -> str:
    root = tmp_path / "root"
    result = _cli("run", "--data", str(data), "--root", str(root), "--preset", "demo", *more)
    assert result.returncode == 2, result.stderr
    assert not root.exists()  # nothing half-written
    assert "Traceback" not in result.stderr
    return result.stderr


def test_no_folder(tmp_path):
    assert "nowhere: expected a folder" in _refused(tmp_path, tmp_path / "nowhere")


def test_no_train_rec(tmp_path):
    write_pairs(tmp_path / "data", "lfw", 10)
    assert "train.rec: expected a RecordIO file" in _refused(tmp_path, tmp_path / "data")


def test_no_verification_set(tmp_path):
    write_records(tmp_path / "data", [0, 0, 1])
    message = _refused(tmp_path, tmp_path / "data")
    assert "lfw.bin: expected a verification set, which evaluation.conditions names. Received: no such file" in message


def test_truncated_train_rec(tmp_path):
    data = tmp_path / "data"
    write_records(data, [0, 0, 1, 1])
    write_pairs(data, "lfw", 10)
    os.truncate(data / "train.rec", 3000)
    message = _refused(tmp_path, data)
    assert "train.rec" in message
    assert "expected" in message
    assert "Received" in message


def test_text_in_place_of_train_rec(tmp_path):
    data = tmp_path / "data"
    write_records(data, [0, 0, 1, 1])
    write_pairs(data, "lfw", 10)
    (data / "train.rec").write_text("not a RecordIO file\n" * 1000)
    assert "train.rec, key 0, byte offset 0: expected a record" in _refused(tmp_path, data)


def test_wrong_setting(tmp_path):
    assert "train.stepz" in _refused(tmp_path, tmp_path, "--set", "train.stepz=1")
