"""What a shell hands to a command, and the command is not changed by."""

import os

import pytest

from tests.processes import cli, python


@pytest.mark.parametrize("name", ["TF_XLA_FLAGS", "XLA_FLAGS"])
def test_flags_that_may_end_tensorflow_are_named_first(name):
    result = cli("presets", env={**os.environ, name: "--xla_no_such_flag=1"})
    assert result.returncode == 0, result.stderr
    assert f"{name}='--xla_no_such_flag=1' is set: of a flag that it doesn't know, TensorFlow ends" in result.stderr
    assert cli("presets").stderr == ""


def test_the_working_folder_was_removed(tmp_path):
    removed = tmp_path / "removed"
    removed.mkdir()
    code = f"import os; os.chdir({str(removed)!r}); os.rmdir({str(removed)!r}); from pipeline.cli import main; main()"
    result = python(["-c", code, "presets"])
    assert result.returncode == 2
    assert "expected a working folder that exists" in result.stderr
