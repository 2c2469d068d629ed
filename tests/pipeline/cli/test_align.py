"""The command `align`, and `--align` of the commands that take aligned faces."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.components.alignment.marks import photo
from tests.helpers import ROOT

MARKS = ["--detector", "tests.components.alignment.marks:load"]


@pytest.fixture
def photos(tmp_path):
    for number in range(4):
        path = tmp_path / "photos" / f"person{number // 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(1, seed=number))
    return tmp_path / "photos"


def _cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_align(photos, tmp_path):
    result = _cli("align", photos, tmp_path / "crops", *MARKS)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "4 crops of 4 photos",
        "faces enlarged: 4 (column upscale)",
        f"{tmp_path}/crops: written",
    ]
    assert "aligning by tests.components.alignment.marks:load" in result.stderr


def test_one_bad_file_does_not_lose_the_others(photos, tmp_path):
    (photos / "person0" / "bad.jpg").write_bytes(b"bad")
    result = _cli("align", photos, tmp_path / "crops", *MARKS, "--json")
    assert result.returncode == 1
    assert f"{photos}/person0/bad.jpg: unreadable: expected a JPEG or PNG image" in result.stderr
    report = json.loads(result.stdout)
    assert (report["photos"], report["crops"], report["rejected"]) == (5, 4, {"unreadable": 1})
    assert (tmp_path / "crops" / "person0" / "0.jpg").exists()


def test_no_crop_at_all(photos, tmp_path):
    result = _cli("align", photos, tmp_path / "crops", *MARKS, "--min-face", "500")
    assert result.returncode == 1
    assert "rejected: 4 (small face 4)" in result.stdout
    assert (tmp_path / "crops" / "rejected.html").exists()


@pytest.mark.parametrize(
    "more, expected",
    [
        (["--detector", "nothing"], "error: detector: expected 'mtcnn' or 'package.module:function'"),
        (["--min-score", "1.5"], "--min-score"),
        (["--max-upscale", "nan"], "--max-upscale"),
        (["--which", "best"], "'best' is not one of 'central', 'largest', 'surest', 'only'"),
        (["--beam-arg", "--x=1"], "--beam-arg goes with --beam-runner"),
        (["--beam-runner", "local", "--processes", "2"], "--processes goes without --beam-runner"),
        (["--beam-runner", "flink"], "--beam-runner flink: expected --beam-arg=--flink_master"),
        (["--beam-runner", "local", "--beam-arg", "--s3_secret_access_key=abc"], "stored and logged"),
    ],
)
def test_refused(photos, tmp_path, capfd, more, expected):
    result = CliRunner().invoke(main, ["align", str(photos), str(tmp_path / "crops"), *more])
    assert result.exit_code == 2, result.output
    said = result.output + capfd.readouterr().err
    assert expected in said
    assert "abc" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_folders_are_checked_before_anything(tmp_path, photos, capfd):
    for arguments, expected in (
        ((tmp_path / "nowhere", tmp_path / "x"), "photos: "),
        ((photos, photos), "expected a folder that doesn't exist yet"),
        (("s3://user:secret@bucket/x", tmp_path / "x"), "expected a path without a password"),
    ):
        result = CliRunner().invoke(main, ["align", *map(str, arguments)])
        assert result.exit_code == 2
        said = result.output + capfd.readouterr().err
        assert expected.lower() in said.lower()
        assert "aligning by" not in said
        assert "secret" not in said


@pytest.mark.parametrize(
    "command",
    [
        ["embed", "m", "a.jpg"],
        ["verify", "m", "a.jpg", "a.jpg"],
        ["convert", "f", "out"],
        ["evaluate", "folder", "m", "f"],
    ],
)
def test_align_or_resize(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(photo(1))
    for name in ("m", "f"):
        (tmp_path / name).mkdir()
    (tmp_path / "m" / "saved_model.pb").touch()
    result = CliRunner().invoke(main, [*command, "--align", "--resize"])
    assert result.exit_code == 2
    assert "give one of --align and --resize" in result.output


def test_without_it_another_size_stays_an_error(photos, tmp_path):
    result = CliRunner().invoke(main, ["convert", str(photos), str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "expected 112x112 pixels" in result.output
