"""The pusher on a real small model: what is pushed, under which number, and what a server may see meanwhile."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tfx.dsl.components.base import base_executor
from tfx.types import standard_artifacts

from arcface_common.artifacts import BEST_FILE, EXTRA, METADATA_FILE, REFERENCE_FILE, VERIFICATION_FILE, WARMUP_FILE
from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from components.latest_blessed.records import BlessedModel, latest_blessed
from serving import export, local, pusher
from serving.embedding_probes import EmbeddingMismatchError
from serving.versions import resolve
from trainer_module import backbones
from trainer_module.literal_paths import load_saved_model

pytestmark = pytest.mark.slow
DIM = 16


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of a Model artifact."""
    folder = tmp_path_factory.mktemp("model")
    backbone = backbones.build("iresnet_tiny", embedding_dim=DIM)
    metadata = ModelMetadata("iresnet_tiny", {"norm": "batch"}, DIM, PixelFormat("rgb"), 7, {"steps": 3})
    export.export_saved_model(backbone, str(folder / "Format-Serving"), metadata)
    return folder


@pytest.fixture
def model(exported, tmp_path):
    """A copy of it, to be changed."""
    shutil.copytree(exported, tmp_path / "model")
    return tmp_path / "model"


def _artifact(kind, folder):
    artifact = kind()
    folder.mkdir(parents=True, exist_ok=True)
    artifact.uri = str(folder)
    return artifact


def _execute(model, tmp_path, blessed=True, figures=1.5, root=None):
    """Runs the executor; returns the PushedModel. The root is `tmp_path` where none is given."""
    root = root or str(tmp_path)
    blessing = _artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
    blessing.set_int_custom_property("blessed", int(blessed))
    verification = {"sets": {"lfw": {"threshold": figures, "pairs": 600.0}}}
    (tmp_path / "blessing" / VERIFICATION_FILE).write_text(json.dumps(verification))
    (tmp_path / "blessing" / BEST_FILE).write_text(json.dumps({"figures": figures}))
    pushed = _artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    destination = {"filesystem": {"base_directory": f"{root}/serving"}}
    pusher.CheckedPusherExecutor(base_executor.BaseExecutor.Context()).Do(
        {"model": [_artifact(standard_artifacts.Model, model)], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {
            "push_destination": json.dumps(destination),
            "custom_config": json.dumps({"blessed": f"{root}/blessed"}),
        },
    )
    return pushed


def _served(tmp_path):
    folder = tmp_path / "serving"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_blessed_model_is_pushed_with_its_figures(model, tmp_path):
    pushed = _execute(model, tmp_path)
    (version,) = _served(tmp_path)
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_destination") == str(tmp_path / "serving" / version)
    assert pushed.get_string_custom_property("pushed_version") == version
    assert pushed.get_int_custom_property(pusher.ALREADY_SERVED) == 0
    assert local.LocalModel(str(tmp_path / "serving")).threshold().cosine == 0.25
    assert pusher.model_digest(pushed.uri) == pusher.model_digest(str(model / "Format-Serving"))
    described = ModelMetadata.read(str(tmp_path / "serving" / version / EXTRA))
    assert described.evaluation == {"lfw": {"threshold": 0.25}}
    assert ModelMetadata.read(str(model / "Format-Serving" / EXTRA)).evaluation == {}
    record = BlessedModel.read(latest_blessed(str(tmp_path / "blessed")))
    places = (str(tmp_path / "serving" / version), str(model / "Format-Serving"), pushed.uri)
    assert record == BlessedModel("/".join(model.parts[-3:]), places, '{"figures": 1.5}')


def test_a_model_that_is_not_blessed_is_not_pushed(model, tmp_path):
    pushed = _execute(model, tmp_path, blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_destination")
    assert _served(tmp_path) == []
    assert latest_blessed(str(tmp_path / "blessed")) == ""


@pytest.mark.parametrize("difference", [3e-4, 1e-2, float("nan")])
def test_a_model_that_gives_other_embeddings_than_at_export_is_not_pushed(model, tmp_path, difference):
    """3e-4 of a unit length: three times the tolerance, and far above what kernels differ by."""
    reference = model / "Format-Serving" / EXTRA / REFERENCE_FILE
    embeddings = np.load(reference)
    embeddings[3, 2] += difference
    np.save(reference, embeddings)
    with pytest.raises(EmbeddingMismatchError, match="expected the embeddings recorded at export"):
        _execute(model, tmp_path)
    assert _served(tmp_path) == []


def test_the_same_model_is_served_under_the_number_that_it_has(model, tmp_path):
    first = _execute(model, tmp_path)
    (version,) = _served(tmp_path)
    inode = (tmp_path / "serving" / version / "saved_model.pb").stat().st_ino
    shutil.rmtree(first.uri)
    again = _execute(model, tmp_path, figures=1.25)
    assert _served(tmp_path) == [version]
    assert (tmp_path / "serving" / version / "saved_model.pb").stat().st_ino == inode
    assert again.get_int_custom_property(pusher.ALREADY_SERVED) == 1
    assert again.get_int_custom_property("pushed") == 1
    assert again.get_string_custom_property("pushed_version") == version
    assert local.LocalModel(str(tmp_path / "serving")).threshold().cosine == 0.375
    extra = sorted(path.name for path in (tmp_path / "serving" / version / EXTRA).iterdir())
    assert extra == [METADATA_FILE, REFERENCE_FILE, WARMUP_FILE, VERIFICATION_FILE]
    assert local.LocalModel(again.uri).threshold().cosine == 0.375
    assert BlessedModel.read(latest_blessed(str(tmp_path / "blessed"))).best == '{"figures": 1.25}'


def _saved_model(folder: Path, text: str) -> str:
    """What `push` takes for a SavedModel: it looks at names and contents alone."""
    for name in ("saved_model.pb", "variables/variables.index"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text} {name}")
    (folder / EXTRA).mkdir(exist_ok=True)
    ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {"text": text}).write(str(folder / EXTRA))
    return str(folder)


@pytest.fixture
def push(tmp_path):
    """Pushes a model that consists of a text."""
    (tmp_path / "verification.json").write_text(json.dumps({"sets": {}}))

    def of(text):
        model = _saved_model(tmp_path / f"of {text}", text)
        return pusher.push(model, str(tmp_path / "serving"), str(tmp_path / "verification.json"))

    return of


def test_a_version_is_above_every_other_whatever_the_clock_says(push, tmp_path, monkeypatch):
    monkeypatch.setattr(pusher.time, "time", lambda: 2000.5)
    assert push("one") == "2000"
    monkeypatch.setattr(pusher.time, "time", lambda: 1000.5)  # set back: by NTP, on another host, in a restored VM
    assert push("two") == "2001"
    (tmp_path / "serving" / "3000").mkdir()  # by hand
    (tmp_path / "serving" / "notes").mkdir()
    assert push("three") == "3001"
    monkeypatch.setattr(pusher.time, "time", lambda: 4000.5)
    assert push("four") == "4000"
    assert Path(resolve(str(tmp_path / "serving"))).name == "4000"


def test_an_older_versions_model_is_pushed_anew(push, tmp_path):
    versions = [push(text) for text in ("one", "two", "one", "one")]
    assert len(set(versions)) == 3
    assert versions[2] == versions[3] == max(versions, key=int)


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index"])
def test_a_damaged_version_is_pushed_anew(push, tmp_path, file):
    first = push("one")
    (tmp_path / "serving" / first / file).write_text("torn")
    assert int(push("one")) > int(first)


def test_what_a_dead_push_left_goes_and_is_never_a_version(push, tmp_path, monkeypatch, capsys):
    left = tmp_path / "serving" / ".pushing-5"
    _saved_model(left, "half")
    version = push("one")
    assert [path.name for path in (tmp_path / "serving").iterdir()] == [version]
    assert f"{left}: left by a push that didn't end" in capsys.readouterr().err


def test_a_copy_that_is_not_whole_never_becomes_visible(push, tmp_path, monkeypatch):
    copy_folder = pusher.filesystem.copy_folder

    def disturbed(source, target):
        copy_folder(source, target)
        (Path(target) / "variables" / "variables.index").unlink()

    monkeypatch.setattr(pusher.filesystem, "copy_folder", disturbed)
    with pytest.raises(OSError, match=r"pushing-\d+: expected a copy of .* Received: other files"):
        push("one")
    assert not [path for path in (tmp_path / "serving").iterdir() if path.name.isdecimal()]


def test_a_store_gets_the_model_whole_its_graph_last_and_its_record(s3, bucket, model, tmp_path):
    root = f"s3://{bucket}/runs"
    pushed = _execute(model, tmp_path, root=root)
    version = pushed.get_string_custom_property("pushed_version")
    place = f"{root}/serving/{version}"
    assert pushed.get_string_custom_property("pushed_destination") == place
    digest = pusher.model_digest(str(model / "Format-Serving"))
    assert digest == pusher.model_digest(place) == pusher.model_digest(pushed.uri)
    dates = {one["Key"]: one["LastModified"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    graph = dates[f"runs/serving/{version}/saved_model.pb"]
    assert all(date <= graph for key, date in dates.items() if key.startswith("runs/serving/"))
    assert load_saved_model(place).signatures
    assert BlessedModel.read(latest_blessed(f"{root}/blessed")).place == place

    shutil.rmtree(pushed.uri)
    again = _execute(model, tmp_path, figures=1.25, root=root)
    assert again.get_int_custom_property(pusher.ALREADY_SERVED) == 1
    assert again.get_string_custom_property("pushed_version") == version
    assert ModelMetadata.read(f"{place}/{EXTRA}").evaluation == {"lfw": {"threshold": 0.375}}
    assert BlessedModel.read(latest_blessed(f"{root}/blessed")).best == '{"figures": 1.25}'


def test_of_a_model_that_does_not_come_to_a_store_whole_nothing_stays(s3, bucket, tmp_path, monkeypatch):
    model = _saved_model(tmp_path / "model", "one")
    (tmp_path / "verification.json").write_text(json.dumps({"sets": {}}))
    created, keys = pusher.filesystem._created, []

    def failing(path):
        if path.startswith("s3://") and path.endswith("saved_model.pb"):
            keys.extend(one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"])
            raise OSError("no connection")
        return created(path)

    monkeypatch.setattr(pusher.filesystem, "_created", failing)
    with pytest.raises(OSError, match="no connection"):
        pusher.push(model, f"s3://{bucket}/serving", str(tmp_path / "verification.json"))
    assert {key.rpartition("/")[2] for key in keys} == {METADATA_FILE, VERIFICATION_FILE, "variables.index"}
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
