"""What a configuration takes over from the run or import that training starts from."""

import pytest

from arcface_common.errors import ConfigError, DataError
from pipeline.config import make_config
from tests.pipeline.training_runs import training_run


def test_what_starts_from_a_backbone_is_fine_tuned(tmp_path):
    run = training_run(tmp_path / "run")
    by_flag = make_config("data", "root", None, (), run)
    assert by_flag == make_config("data", "root", None, [f"train.init_from={run}"])
    assert by_flag == make_config("data", "root", "finetune", (), run)
    assert (by_flag.train.learning_rate, by_flag.train.steps) == (1e-4, 200)
    assert make_config("data", "root", "demo", (), run).train.learning_rate == 6e-3
    compiled = make_config("gs://b/d", "gs://b/r", None, ["train.init_from=/mnt/run"], here=False)
    assert (compiled.train.learning_rate, compiled.train.init_from) == (1e-4, "/mnt/run")


def test_a_start_by_flag_and_by_setting_is_the_same(tmp_path):
    run = training_run(tmp_path / "run")
    by_flag = make_config("data", "root", "demo", ["train.steps=0"], run)
    assert make_config("data", "root", "demo", [f"train.init_from={run}", "train.steps=0"]) == by_flag
    assert (by_flag.train.init_from, by_flag.train.embedding_dim, by_flag.train.colour) == (run, 64, "bgr")
    training_run(tmp_path / "run", "two")
    other = make_config("data", "root", "demo", [f"train.init_from={run}"])
    assert len({"", by_flag.init_digest, other.init_digest}) == 3
    with pytest.raises(ConfigError, match="no setting that init_from decides. Received: train.init_from="):
        make_config("data", "root", "demo", [f"train.init_from={run}"], run)
    assert make_config("data", "root", "demo", ["train.init_from="]).init_digest == ""


def test_a_start_without_a_checkpoint_is_named(tmp_path):
    run = training_run(tmp_path / "run")
    (tmp_path / "run" / "checkpoint" / "model.index").unlink()
    with pytest.raises(ConfigError, match=r"run/checkpoint: expected the checkpoint of .* Received: no files"):
        make_config("data", "root", "demo", [f"train.init_from={run}"])


def test_a_start_with_another_embedding_has_its_own_output_layer(tmp_path):
    run = training_run(tmp_path / "run")
    assert make_config("data", "root", "demo", ["train.embedding_dim=32"], run).train.embedding_dim == 32
    with pytest.raises(ConfigError, match=r"embedding_dim must be 64, as trained, with train.steps=0 .* Received: emb"):
        make_config("data", "root", "demo", ["train.embedding_dim=32", "train.steps=0"], run)
    with pytest.raises(ConfigError, match="init_centres must be another with other dimensions than its 64"):
        make_config("data", "root", "demo", ["train.embedding_dim=32", "train.init_centres=kept"], run)


def test_centres_are_kept_where_there_are_some_with_labels(tmp_path):
    run = training_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="init_centres must be another, since .*run has no identities.txt"):
        make_config("data", "root", "demo", ["train.init_centres=kept"], run)
    for damaged, received in ((b"\xff\xfe", "no text, invalid start byte"), (b"1\n2\n1\n", "1 again, in line 3")):
        (tmp_path / "run" / "identities.txt").write_bytes(damaged)
        with pytest.raises(DataError, match=rf"run/identities.txt: expected .* Received: {received}"):
            make_config("data", "root", "demo", ["train.init_centres=kept"], run)
    digests = set()
    for labels in ("1\n2\n", "2\n1\n"):
        (tmp_path / "run" / "identities.txt").write_text(labels)
        config = make_config("data", "root", "demo", ["train.init_centres=kept"], run)
        assert config.train.init_centres == "kept"
        digests.add(config.init_digest)
    assert len(digests) == 2  # of the cache key


def test_frozen_steps_of_a_run_are_those_that_were_asked_for(tmp_path):
    run = training_run(tmp_path / "run")
    assert make_config("data", "root", "demo", ["train.freeze_steps=20"], run).train.freeze_steps == 20
    with pytest.raises(ConfigError, match="freeze_steps must be left at 0 without train.init_from"):
        make_config("data", "root", "demo", ["train.freeze_steps=20"])


def test_a_start_on_another_machine_is_taken_as_it_is():
    config = make_config("gs://b/d", "gs://b/r", "demo", ["train.init_from=/mnt/run"], here=False)
    assert (config.train.init_from, config.init_digest) == ("/mnt/run", "")
