"""What stands in each node's properties, which are TFX's cache key."""

import dataclasses
import json

import pytest

from arcface_common.protocol.conditions import CUTS
from arcface_common.source_digest import source_digest
from pipeline.config import make_config
from pipeline.node_code import node_code

pytestmark = pytest.mark.slow

OURS = {
    "RecordExampleGen": ("components.record_example_gen.executor",),
    "PairExampleGen": ("components.pair_example_gen.executor",),
    "ExampleSchema": ("components.curated_schema",),
    "StatisticsSchema": ("components.curated_schema",),
    "PairSchema": ("components.curated_schema",),
    "ExampleValidator": ("components.anomaly_gate",),
    "Transform": ("trainer_module.preprocessing",),
    "Trainer": ("components.trainer.executor", "trainer_module.workers.worker"),
    "Exporter": ("serving.exporter.executor",),
    "VerificationEvaluator": ("evaluator_custom.component", "evaluator_custom.tfma_bridge.embed_pairs"),
    "Pusher": ("serving.pusher",),
}
NOT_OURS = {"StatisticsGen", "DataDigest", "LatestBlessedModel"}  # the latter two are never cached


def _properties(config, local=True):
    """Node -> its properties, those in TFX's custom configuration among them."""
    from pipeline.create import create_pipeline

    found = {}
    for node in create_pipeline(config, "metadata.sqlite" if local else None).components:
        properties = dict(node.exec_properties)
        custom = properties.pop("custom_config", None)
        found[node.id] = {**properties, **(json.loads(custom) if custom else {})}
    return found


@pytest.fixture(scope="module")
def usual():
    return _properties(make_config("data", "root", "demo"))


def test_every_node_of_ours_carries_the_digest_of_its_code(usual):
    assert set(usual) == set(OURS) | NOT_OURS
    for node, modules in OURS.items():
        assert usual[node]["code_version"] == source_digest(*modules) == node_code(node), node


def _differing(config, other, local=True):
    one, two = _properties(config, local), _properties(other, local)
    return {node for node in one if one[node] != two[node]}


def test_what_training_starts_from_is_in_the_keys_of_trainer_and_evaluator(usual):
    config = make_config("data", "root", "demo")
    assert usual["Trainer"]["init_digest"] == ""
    assert _differing(config, dataclasses.replace(config, init_digest="c0ffee")) == {"Trainer", "VerificationEvaluator"}


def test_a_checkpoint_that_is_not_trained_is_exported_without_training(usual):
    config = make_config("/data", "/root", "finetune", ["train.steps=0", "train.init_from=/imported"], here=False)
    config = dataclasses.replace(config, init_digest="c0ffee")
    local, container = _properties(config), _properties(config, local=False)
    assert set(usual) - set(local) == {"ExampleSchema", "Transform", "Trainer"}
    # The folder's digest stands for it in a local run's key; a container is told all by its properties.
    assert (local["Exporter"]["start"], local["Exporter"]["start_digest"]) == ("", "c0ffee")
    assert container["Exporter"]["start"] == "/imported"


@pytest.mark.parametrize(
    "setting", ["train.log_every=1", "train.start_timeout_s=1", "train.holdout_every=1", "train.verify_sets=lfw"]
)
def test_what_changes_no_result_is_in_no_key(setting):
    used = ["train.workers=2", "ingest.holdout=0.1", "train.verify_every=9"]
    config, other = make_config("data", "root", "demo", used), make_config("data", "root", "demo", [*used, setting])
    assert config != other
    assert _differing(config, other) == set()
    assert _differing(config, other, local=False) == {"Trainer"}  # a container is told all by its properties


@pytest.mark.parametrize(
    ("setting", "nodes"),
    [
        ("train.seed=2", {"Trainer"}),
        ("train.steps=7", {"Trainer"}),
        ("train.shuffle_buffer=7", {"Trainer"}),
        ("train.workers=2", {"Trainer"}),
        ("train.max_image_pixels=99999", {"Exporter"}),
        ("ingest.seed=2", {"RecordExampleGen"}),
        ("ingest.decode=true", {"RecordExampleGen"}),
        ("evaluation.conditions=[lfw.tar >= 0]", {"VerificationEvaluator", "DataDigest"}),
    ],
)
def test_what_changes_a_result_is_in_that_nodes_key(setting, nodes):
    config, other = make_config("data", "root", "demo"), make_config("data", "root", "demo", [setting])
    assert _differing(config, other) == nodes


def test_verification_while_training_is_in_its_key_only_where_it_happens():
    from pipeline.create import create_pipeline

    def pairs_of(settings):
        nodes = create_pipeline(make_config("data", "root", "demo", settings), "metadata.sqlite").components
        trainer = next(node for node in nodes if node.id == "Trainer")
        return "pair_examples" in trainer.inputs

    assert not pairs_of([])
    assert pairs_of(["train.verify_every=100"])
    for verify, nodes in (([], set()), (["train.verify_every=100"], {"Trainer"})):
        one, two = (make_config("data", "root", "demo", [*verify, f"evaluation.folds={cut}"]) for cut in CUTS)
        assert _differing(one, two) == {"VerificationEvaluator", *nodes}


def test_what_the_best_is_told_by_is_in_the_key():
    def differing(*settings):
        told = ["train.keep=best", "train.verify_every=9"], ["train.keep=best", *settings]
        return _differing(*(make_config("data", "root", "demo", of) for of in told))

    assert differing("train.verify_every=8") == {"Trainer"}
    assert differing("train.verify_every=9", "train.verify_sets=lfw") == {"Trainer"}
    assert differing("train.verify_every=9") == set()
    best = _properties(make_config("data", "root", "demo", ["train.keep=best", "train.verify_every=9"]))
    last = _properties(make_config("data", "root", "demo", ["train.verify_every=9"]))
    assert best["Trainer"]["code_version"] != last["Trainer"]["code_version"]  # the protocol's code counts


def test_an_own_backbones_code_is_in_the_trainers_key(tmp_path, monkeypatch):
    (tmp_path / "net_of_mine.py").write_text("WIDTH = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = make_config("data", "root", "demo", ["train.backbone=net_of_mine:build"])
    one = _properties(config)
    (tmp_path / "net_of_mine.py").write_text("WIDTH = 2\n")
    two = _properties(config)
    assert {node for node in one if one[node] != two[node]} == {"Trainer", "Exporter"}


def test_an_edited_schema_is_in_its_nodes_key(usual, monkeypatch):
    from pipeline import create

    text = create.schema_text
    monkeypatch.setattr(create, "schema_text", lambda name: text(name) + ("# edited" if name == "pairs" else ""))
    edited = _properties(make_config("data", "root", "demo"))
    assert {node for node in usual if usual[node] != edited[node]} == {"PairSchema"}
