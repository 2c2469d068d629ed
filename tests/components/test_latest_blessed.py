"""Which model the next one is compared with: the latest blessed one of which a copy is left."""

import json
import shutil

import pytest

from components.latest_blessed.records import BlessedModel, latest_blessed


@pytest.fixture
def root(tmp_path):
    """A root in which versions 90 and 100 were pushed, each with all its copies."""
    for version in ("90", "100"):
        _places(tmp_path / "root", version, write=True)
    return tmp_path / "root"


def _places(root, version, write=False):
    serving, made, kept = f"serving/arcface/{version}", f"pipeline/Exporter/model/{version}/Format-Serving", "pipeline"
    places = [root / serving, root / made, root / kept / "Pusher" / "pushed_model" / version]
    if write:
        for place in places:
            (place / "variables").mkdir(parents=True)
            (place / "saved_model.pb").write_text(version)
            (place / "variables" / "variables.index").write_text(version)
        model = BlessedModel(f"Exporter/model/{version}", tuple(map(str, places)), f"best of {version}")
        model.write(str(root / "blessed"), version)
    return places


def _found(root):
    path = latest_blessed(str(root / "blessed"))
    return BlessedModel.read(path) if path else None


def test_there_is_none_at_first(tmp_path):
    assert latest_blessed(str(tmp_path / "blessed")) == ""


def test_the_highest_version_is_the_latest_and_its_served_copy_comes_first(root):
    found = _found(root)
    assert (found.name, found.best) == ("Exporter/model/100", "best of 100")
    assert found.place == str(root / "serving" / "arcface" / "100")


@pytest.mark.parametrize("lost", [[0], [0, 1], [1, 2], [0, 2]])
def test_any_copy_that_is_left_will_do(root, lost):
    places = _places(root, "100")
    for index in lost:
        shutil.rmtree(places[index])
    path = latest_blessed(str(root / "blessed"))
    assert path == str(root / "blessed" / "100.json")  # the same key to the evaluator's cache
    assert BlessedModel.read(path).place == str(next(place for place in places if place.exists()))


@pytest.mark.parametrize("loss", ["folder", "file"])
def test_a_model_that_is_gone_for_good_is_said_and_the_one_before_is_the_baseline(root, capsys, loss):
    for place in _places(root, "100"):
        shutil.rmtree(place) if loss == "folder" else (place / "variables" / "variables.index").unlink()
    assert _found(root).name == "Exporter/model/90"
    assert "the blessed model Exporter/model/100 is gone, and where it was pushed, too" in capsys.readouterr().err
    for place in _places(root, "90"):
        shutil.rmtree(place)
    assert _found(root) is None


@pytest.mark.parametrize("copied", [True, False])
def test_a_moved_or_copied_root_takes_its_models_along(root, copied):
    (shutil.copytree if copied else shutil.move)(root, root.with_name("new"))
    new = root.with_name("new")
    assert _found(new).place == str(new / "serving" / "arcface" / "100")


@pytest.mark.parametrize(
    "damage", ["", "[1]", "{", '{"name": 3, "places": [], "best": ""}', '{"name": "m", "places": "/", "best": ""}']
)
def test_a_record_that_cannot_be_read_is_named_and_the_one_before_is_the_baseline(root, capsys, damage):
    (root / "blessed" / "100.json").write_text(damage)
    assert _found(root).name == "Exporter/model/90"
    assert f"WARNING the blessed model of {root}/blessed/100.json is none to compare with" in capsys.readouterr().err


def test_what_is_no_record_is_left_alone(root):
    for name in ("notes.txt", "latest.json", ".100.json.partial"):
        (root / "blessed" / name).write_text("{}")
    assert _found(root).name == "Exporter/model/100"


def test_the_record_of_a_version_is_replaced(root):
    BlessedModel("Exporter/model/100", (str(_places(root, "100")[0]),), "better").write(str(root / "blessed"), "100")
    assert _found(root).best == "better"
    assert sorted(path.name for path in (root / "blessed").iterdir()) == ["100.json", "90.json"]


def test_a_place_outside_the_root_keeps_its_path_and_a_store_that_nobody_here_knows_holds_nothing(root, tmp_path):
    outside = tmp_path / "store" / "model"
    shutil.copytree(_places(root, "100")[0], outside)
    BlessedModel("m", ("minio://mlpipeline/v2/model", str(outside)), "").write(str(root / "blessed"), "200")
    assert json.loads((root / "blessed" / "200.json").read_text())["places"] == [
        "minio://mlpipeline/v2/model",
        str(outside),
    ]
    assert _found(root).place == str(outside)
