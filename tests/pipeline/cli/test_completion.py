"""What a shell offers, asked as a shell asks."""

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from pipeline.cli import main
from tests.helpers import ROOT


def _offered(*words: str) -> list[str]:
    *before, incomplete = words
    return [item.value for item in ShellComplete(main, {}, "arcface-tfx", "X").get_completions(before, incomplete)]


@pytest.fixture
def root(tmp_path):
    for name in ("20261124T073355", "20261125T081502", ".half"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    return tmp_path


def test_settings(root):
    assert _offered("run", "--set", "train.warm") == ["train.warmup_steps="]
    assert "ingest.holdout=" in _offered("run", "--set", "")
    assert _offered("compile", "--set", "train.margin_w") == ["train.margin_warmup_steps="]
    assert _offered("run", "--set", "nothing") == []


def test_runs(root, monkeypatch):
    names = ["latest", "20261125T081502", "20261124T073355"]
    assert _offered("runs", "show", "--root", str(root), "") == names
    assert _offered("runs", "--root", str(root), "diff", "2026") == names[1:]
    assert _offered("runs", "diff", "--root", str(root), "latest", "20261124") == names[2:]
    monkeypatch.chdir(root)
    assert _offered("runs", "show", "") == ["latest"]  # there is no build/run


def test_as_the_readme_switches_it_on():
    ask = {
        "_ARCFACE_TFX_COMPLETE": "bash_complete",
        "COMP_WORDS": "arcface-tfx run --set train.warm",
        "COMP_CWORD": "3",
    }
    program = "from pipeline.cli import main; main(prog_name='arcface-tfx')"
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **ask})
    assert result.stdout == "plain,train.warmup_steps=\n"
