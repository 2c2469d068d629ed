"""Whom an earlier training saw: by its labels, where they mean the same people."""

import pytest

from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from evaluator_custom.past import read_past


def _run(folder, *, init_from="", digest="da7a", labels="3\n5\n"):
    folder.mkdir()
    training = {"steps": 7, "init_from": init_from}
    ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, training, data_digest=digest).write(str(folder))
    (folder / "identities.txt").write_text(labels)
    return str(folder)


def test_a_run_on_the_same_files_tells_whom_it_saw(tmp_path):
    past = read_past(_run(tmp_path / "run"), "da7a")
    assert (past.identities.tolist(), past.known) == ([3, 5], True)


def test_a_run_that_began_from_another_one_tells_a_part(tmp_path):
    past = read_past(_run(tmp_path / "run", init_from="/another"), "da7a")
    assert (past.identities.tolist(), past.known) == ([3, 5], False)


@pytest.mark.parametrize("given", [{"digest": "0ther"}, {"digest": ""}, {"labels": "a\nb\n"}, {"labels": "3\n3\n"}])
def test_what_cannot_be_compared_is_not_known(tmp_path, given):
    past = read_past(_run(tmp_path / "run", **given), given.get("digest", "da7a") and "da7a")
    assert (past.identities.tolist(), past.known) == ([], False)


def test_a_folder_that_this_machine_lacks_is_not_known(tmp_path):
    assert not read_past(str(tmp_path / "gone"), "da7a").known
