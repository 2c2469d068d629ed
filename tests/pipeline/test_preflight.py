"""What is said about a data set's folder before anything runs."""

import dataclasses
import os
import re

import pytest
from click.testing import CliRunner

from arcface_common.errors import DataError
from arcface_common.gpus import DRIVER_LIBRARY, find_gpus
from components.formats.recordio import write_index
from pipeline.cli import main
from pipeline.config import make_config
from pipeline.preflight import check_dataset, check_run, say_obstacle
from tests.helpers import write_pairs, write_records
from tests.unwritable import unwritable


@pytest.fixture
def data(tmp_path):
    """A training set, lfw and a set of an own name."""
    write_records(tmp_path / "data", [0, 0, 1])
    for name in ("lfw", "mine"):
        write_pairs(tmp_path / "data", name, 10)
    return tmp_path / "data"


def _checked(data, *overrides):
    return check_dataset(make_config(str(data), "root", "demo", overrides)).evaluation.sets


def test_a_set_that_judges_while_training_must_be_there(data):
    config = make_config(str(data), "root", "demo", ["train.verify_every=5", "train.verify_sets=cfp_fp"])
    expected = r"cfp_fp\.bin: expected a verification set, which train\.verify_sets names\. Received: no such file"
    with pytest.raises(DataError, match=expected + r", but lfw, mine \(verify by .* with train\.verify_sets=lfw\)"):
        check_dataset(config)


def test_a_usual_set_that_is_missing_is_skipped_aloud(data, capsys):
    assert _checked(data) == ("lfw",)
    said = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert said == [f"judged by lfw; not in {data}, skipped: cfp_ff.bin, cfp_fp.bin, agedb_30.bin"]
    assert _checked(data, "evaluation.conditions=[mine.tar >= 0.5]") == ("lfw", "mine")


def test_a_set_that_is_named_must_be_there(data):
    with pytest.raises(
        DataError, match=r"cfp_fp\.bin: expected .*evaluation\.sets names. Received: no such file, but lfw, mine"
    ):
        _checked(data, "evaluation.sets=lfw,cfp_fp")
    with pytest.raises(DataError, match=r"cfp_fp\.bin: expected .*evaluation\.conditions names. Received: no such"):
        _checked(data, "evaluation.conditions=[lfw.accuracy >= 0.9, cfp_fp.accuracy >= 0.9]")


@pytest.mark.parametrize("place", ["", "pipeline", "ingest", "runs", "serving/arcface", "metadata.sqlite", "run.lock"])
def test_a_root_that_cannot_be_written_to_is_refused_at_once(data, tmp_path, place):
    root = tmp_path / "root"
    if "." in place:
        root.mkdir()
        (root / place).write_text("")
    else:
        (root / place).mkdir(parents=True)
    config = make_config(str(data), str(root), "demo", ["train.backbone_options.nothing=1"])  # wrong, too, and slower
    expected = f"^{root / place}: expected a f(older|ile) that can be written to. Received: "
    with unwritable(root / place), pytest.raises(DataError, match=expected):
        check_run(config)
    with pytest.raises(DataError, match="nothing"):
        check_run(config)


def test_a_set_that_is_misspelt_is_named_with_its_like(data):
    with pytest.raises(DataError, match=r"mien\.bin: expected .* Received: no such file, .*; did you mean 'mine'\?"):
        _checked(data, "evaluation.sets=lfw,mien")


def test_a_set_of_another_name_alone_is_offered_with_the_settings_that_take_it(data):
    (data / "lfw.bin").unlink()
    with pytest.raises(DataError, match=r"lfw\.bin: expected .*evaluation\.conditions names") as caught:
        _checked(data)
    settings = re.findall(r"'?\b(evaluation\.(?:sets|conditions)=(?:\[.*?\]|\w+))", str(caught.value))
    assert settings == ["evaluation.sets=mine", "evaluation.conditions=[mine.accuracy >= 0.95]"]
    assert _checked(data, *settings) == ("mine",)
    (data / "mine.bin").unlink()
    with pytest.raises(DataError, match="Received: no such file, and no other verification set"):
        _checked(data)


def test_a_gpu_that_tensorflow_cannot_use_is_said_before_it_is_imported(tmp_path, capsys):
    (tmp_path / "dev").mkdir()
    say_obstacle(find_gpus(tmp_path, {}))
    assert capsys.readouterr().err == ""
    (tmp_path / "dev" / "nvidia0").touch()
    say_obstacle(find_gpus(tmp_path, {}, {DRIVER_LIBRARY}.__contains__))
    assert capsys.readouterr().err == (
        "WARNING TensorFlow can't use 1 GPU (NVIDIA GPU), and trains on the CPU: this environment has no CUDA "
        "libraries: `make setup GPU=1` installs them, elsewhere `pip install 'arcface-tfx[gpu]'`\n"
    )


def test_without_a_set_the_option_that_draws_one_is_named_and_judges(data, capsys):
    for name in ("lfw", "mine"):
        (data / f"{name}.bin").unlink()
    with pytest.raises(DataError, match=r"no other verification set \(verify_identities=0\.02 keeps people out"):
        _checked(data)
    config = check_dataset(make_config(str(data), "root", "demo", ["ingest.verify_identities=0.5"]))
    assert (config.set_files, config.evaluated_sets, config.evaluation.sets) == ((), ("verify",), ("verify",))
    assert config.evaluation.conditions == ("verify.accuracy >= 0.95", "verify.accuracy change >= 0")
    said = capsys.readouterr().err
    assert "judged by verify; not in" in said
    assert "conditions: verify.accuracy >= 0.95, verify.accuracy change >= 0 (evaluation.conditions)" in said


def test_a_set_that_is_drawn_is_one_more_beside_those_that_are_there(data):
    drawn = "ingest.verify_identities=0.5"
    config = check_dataset(make_config(str(data), "root", "demo", [drawn]))
    assert (config.set_files, config.evaluated_sets) == (("lfw",), ("lfw", "verify"))
    assert config.evaluation.conditions == ("lfw.accuracy >= 0.95", "lfw.accuracy change >= 0")
    own = "evaluation.conditions=[verify.accuracy >= 0.9, lfw.accuracy >= 0.9]"
    assert check_dataset(make_config(str(data), "root", "demo", [drawn, own])).evaluation.conditions == (
        "verify.accuracy >= 0.9",
        "lfw.accuracy >= 0.9",
    )
    named = check_dataset(make_config(str(data), "root", "demo", [drawn, "evaluation.sets=lfw,mine"]))
    assert named.evaluated_sets == ("lfw", "mine", "verify")
    (data / "lfw.bin").unlink()  # whoever asks for it must have it
    with pytest.raises(DataError, match=r"lfw\.bin: expected a verification set, which evaluation\.conditions names"):
        check_dataset(make_config(str(data), "root", "demo", [drawn, own]))


def test_a_network_that_may_know_the_people_of_the_set_that_is_drawn_is_said(data, capsys):
    config = make_config(str(data), "root", "demo", ["ingest.verify_identities=0.5"])
    check_dataset(config)
    assert "WARNING" not in capsys.readouterr().err
    check_dataset(dataclasses.replace(config, train=dataclasses.replace(config.train, init_from="a run")))
    assert "WARNING verify: a run may have been trained on its people; the" in capsys.readouterr().err


def test_the_name_of_the_set_that_is_drawn_is_its_own(data):
    write_pairs(data, "verify", 10)
    with pytest.raises(DataError, match=r"verify\.bin: expected no file .* verify_identities draws"):
        _checked(data, "ingest.verify_identities=0.5")
    assert _checked(data, "evaluation.conditions=[verify.accuracy >= 0]") == ("lfw", "verify")


def test_images_that_a_run_can_do_without_stop_nothing(data):
    """Skipped images, labels with gaps and more identity records than labels: the images' own labels decide."""
    write_records(data, [4, 4, 26], identities=5)
    lines = (data / "train.idx").read_text().splitlines(keepends=True)
    (data / "train.idx").write_text("".join(lines[:2] + lines[3:]))
    assert _checked(data) == ("lfw",)


def test_a_cut_file_is_found_at_once_unless_bad_records_are_put_aside(data):
    content = (data / "train.rec").read_bytes()
    index = [int(line.split()[1]) for line in (data / "train.idx").read_text().splitlines()]
    write_index(str(data / "train.idx"), range(1, 4), index[1:4])  # im2rec's form: the images alone
    (data / "train.rec").write_bytes(content[: index[4] - 100])
    with pytest.raises(DataError, match=r"train\.rec, key 3, byte offset \d+: expected \d+ bytes of payload"):
        _checked(data)
    assert _checked(data, "ingest.on_bad_record=quarantine") == ("lfw",)


def test_what_the_environment_or_the_backbone_forbids_comes_before_the_data(data, monkeypatch):
    config = make_config(str(data), "root", "demo", ["train.backbone=iresnet51"])
    with pytest.raises(DataError, match="did you mean 'iresnet50'"):
        check_run(config)
    with pytest.raises(DataError, match="Received: 'mbf'; did you mean 'mobilefacenet_mbf'"):
        check_run(make_config(str(data), "root", "demo", ["train.backbone=mbf"]))
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    with pytest.raises(DataError, match="`unset TF_CONFIG`"):
        check_run(make_config(str(data), "root", "demo"))


def test_a_training_that_memory_does_not_hold(data, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    size = "train.batch_size=1_000_000"
    with pytest.raises(DataError, match="train.batch_size: expected about .* 2 identities and 1 worker without a GPU"):
        _checked(data, size)
    assert _checked(data, size, "train.check_memory=false") == ("lfw",)


@pytest.mark.parametrize("name", ["train.rec", "train.idx", "property", "lfw.bin", "lfw.csv"])
@pytest.mark.parametrize(("make", "received"), [(os.mkfifo, "a named pipe"), (os.mkdir, "a folder")])
def test_what_only_has_a_data_files_name_is_refused_at_once(data, name, make, received):
    (data / name).unlink(missing_ok=True)
    make(data / name)
    with pytest.raises(DataError, match=rf"{re.escape(name)}: expected a file. Received: {received}"):
        _checked(data)
    inspected = CliRunner().invoke(main, ["inspect", str(data)])
    assert inspected.exit_code == 2


def test_a_gap_wants_the_column_that_it_names(data):
    gap = "evaluation.conditions=[lfw.accuracy gap age <= 0.1]"
    with pytest.raises(DataError, match=r"lfw\.csv: expected .* Received: no such file"):
        _checked(data, gap)
    (data / "lfw.csv").write_text("image,group\n")
    with pytest.raises(DataError, match=r"lfw\.csv: expected the column 'age', .* Received: \['image', 'group'\]"):
        _checked(data, gap)
    (data / "lfw.csv").write_text("image,group,age\n")
    assert _checked(data, gap) == ("lfw",)
