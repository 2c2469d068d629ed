"""Places and names that a configuration takes, and those that it refuses."""

import pytest

from arcface_common.errors import ConfigError, DataError
from pipeline.config import make_config


@pytest.mark.parametrize("root", ["/runs/[v1]", "runs/a*", "/r?", "/r]", "/a\\b", "/a\nb", "/a\x7f"])
@pytest.mark.parametrize("here", [True, False])
def test_a_root_that_would_be_taken_for_a_pattern_is_refused(root, here):
    with pytest.raises(DataError, match="root must be a path without .* Received: '"):
        make_config("data", root, "demo", here=here)


@pytest.mark.parametrize(("data", "here"), [("s3://faces/[v1]", True), ("gs://b/v*", True), ("/mnt/faces [v1]", False)])
def test_a_data_set_that_others_look_for_by_patterns_is_refused(data, here):
    with pytest.raises(DataError, match="data must be a path without .* Received: '"):
        make_config(data, "/root", "demo", here=here)


def test_other_names_are_taken():
    assert make_config("faces [v1]*?", "/runs/a b,c#d%41{é}'$!", "demo").data == "faces [v1]*?"
    with pytest.raises(DataError, match="root must be a folder on this machine. Received: 'gs://b/r'"):
        make_config("data", "gs://b/r", "demo")


@pytest.mark.parametrize("name", ["l*w", "../lfw", "lfw[1]", "a b", ""])
def test_names_of_sets_are_no_patterns_and_no_paths(name):
    with pytest.raises(ConfigError, match="evaluation.sets must be names of <set>.bin files"):
        make_config("data", "root", "demo", [f"evaluation.sets=['{name}']"])


def test_a_root_is_no_file(tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(DataError, match="root=.*root: expected a folder, or a path where nothing is yet"):
        make_config(str(tmp_path), str(tmp_path / "root"), "demo")
