"""What a training takes over from another run: the backbone, and the centres of identities that both know."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from arcface_common.artifacts import IDENTITIES_FILE
from arcface_common.errors import ConfigError, DataError
from tests.processes import python
from tests.trainer_module import tiny_network
from trainer_module.training.state import create_state
from trainer_module.training.step import make_train_step

BEFORE, NOW = ["10", "20", "30", "40", "50"], ["30", "99", "10", "77"]


def _run(folder, settings, labels=BEFORE):
    """A training run's folder; returns its backbone's weights and its centres."""
    folder.mkdir(parents=True)
    state = create_state(dataclasses.replace(settings, seed=7), len(BEFORE))
    state.head.centres.assign_add(tf.ones_like(state.head.centres))  # what no start draws
    tiny_network.write_run(state, settings, str(folder))
    if labels:
        (folder / IDENTITIES_FILE).write_text("".join(f"{label}\n" for label in labels))
    return {v.name: v.numpy() for v in state.backbone.variables}, state.head.centres.numpy()


def _starting(folder, settings=tiny_network.SETTINGS, **more):
    return dataclasses.replace(settings, init_from=str(folder), **{"init_centres": "kept", **more})


@pytest.mark.parametrize(
    ("options", "before"),
    [
        pytest.param({}, {}, id="full"),
        pytest.param({"sample_rate": 0.5}, {}, id="sampled, of full"),
        pytest.param({"sub_centres": 3, "loss": "curricularface"}, {"sub_centres": 3}, id="sub-centres"),
        pytest.param({"sub_centres": 3, "sample_rate": 0.5}, {}, id="more sub-centres, sampled"),
        pytest.param({"loss": "softmax", "scale": 64.0, "margin": None, "margin_warmup_steps": 0}, {}, id="softmax"),
    ],
)
def test_centres_of_identities_that_both_know_are_kept(tmp_path, options, before):
    weights, centres = _run(tmp_path / "run", dataclasses.replace(tiny_network.SETTINGS, **before))
    settings = dataclasses.replace(tiny_network.SETTINGS, **options)
    state, drawn = create_state(_starting(tmp_path / "run", settings), 4, NOW), create_state(settings, 4)
    found, expected, many = state.head.centres.numpy(), drawn.head.centres.numpy(), centres.shape[1]
    np.testing.assert_array_equal(found[[0, 2], :many], centres[[2, 0]])
    np.testing.assert_array_equal(found[[0, 2], many:], expected[[0, 2], many:])
    np.testing.assert_array_equal(found[[1, 3]], expected[[1, 3]])
    assert state.begun_from.endswith("run; centres: 2 of 5 identities kept, 2 new, 3 dropped")
    for variable in state.backbone.variables:
        np.testing.assert_array_equal(variable.numpy(), weights[variable.name])


@pytest.mark.slow
def test_centres_are_kept_where_they_are_split_over_replicas(tmp_path):
    _run(tmp_path / "run", tiny_network.SETTINGS)
    labels, file = [*NOW, "50"], tmp_path / "centres.npy"  # one more than two equal shards hold
    done = python(["-m", "tests.trainer_module.training.kept_in_shards", str(tmp_path / "run"), str(file), *labels])
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(file), create_state(_starting(tmp_path / "run"), 5, labels).head.centres)


def test_the_same_identities_in_another_order_and_none_at_all(tmp_path):
    _, centres = _run(tmp_path / "run", tiny_network.SETTINGS)
    state = create_state(_starting(tmp_path / "run"), 5, BEFORE[::-1])
    np.testing.assert_array_equal(state.head.centres.numpy(), centres[::-1])
    assert state.begun_from.endswith("5 of 5 identities kept, 0 new, 0 dropped")
    assert create_state(_starting(tmp_path / "run"), 2, ["1", "2"]).begun_from.endswith(
        "0 of 5 identities kept, 2 new, 5 dropped"
    )


def test_centres_are_new_unless_it_is_asked_for(tmp_path):
    _run(tmp_path / "run", tiny_network.SETTINGS)
    _run(tmp_path / "import", tiny_network.SETTINGS, labels=())
    for folder, said in (("run", "new, train.init_centres=kept takes"), ("import", "new, it has none")):
        state = create_state(_starting(tmp_path / folder, init_centres="random"), 4)
        expected = create_state(tiny_network.SETTINGS, 4).head.centres.numpy()
        np.testing.assert_array_equal(state.head.centres.numpy(), expected)
        assert f"/{folder}; centres: {said}" in state.begun_from
    of_data = create_state(_starting(tmp_path / "run", init_centres="data"), 4).begun_from
    assert of_data.endswith("run; centres: at the means of the data")
    assert create_state(tiny_network.SETTINGS, 4).begun_from == ""


def test_centres_that_cannot_be_kept_are_refused(tmp_path):
    _run(tmp_path / "run", dataclasses.replace(tiny_network.SETTINGS, sub_centres=2))
    _run(tmp_path / "import", tiny_network.SETTINGS, labels=())
    _run(tmp_path / "cut", tiny_network.SETTINGS, labels=BEFORE[:3])
    for folder, more, message in (
        ("import", {}, "train.init_centres must be another, since .*import has none"),
        ("run", {}, "an identity has 1 of 6 dimensions, and had 2 of 6 dimensions"),
        ("run", {"sub_centres": 2, "embedding_dim": 4}, "an identity has 2 of 4 dimensions, and had 2 of 6"),
    ):
        with pytest.raises(ConfigError, match=message):
            create_state(_starting(tmp_path / folder, **more), 4, NOW)
    with pytest.raises(DataError, match=r"identities.txt: expected the labels of 5 identities. Received: 3"):
        create_state(_starting(tmp_path / "cut"), 4, NOW)


def test_another_embedding_gets_a_new_output_layer_that_alone_is_trained_at_first(tmp_path):
    settings = dataclasses.replace(tiny_network.SETTINGS, backbone="iresnet_tiny", embedding_dim=128)
    weights, _ = _run(tmp_path / "run", settings)
    more = {"init_centres": "random", "embedding_dim": 32, "freeze_steps": 1, "backbone_rate": 0.5}
    settings = _starting(tmp_path / "run", settings, **more)
    state = create_state(settings, 5)
    assert [layer.name for layer in state.new_layers] == ["output_fc", "embedding"]
    said = "; new layers: output_fc, embedding; the backbone is frozen for 1 steps; centres: new, train.init_centres"
    assert said in state.begun_from
    new = {v.name for layer in state.new_layers for v in layer.variables}
    before = {v.name: v.numpy() for v in state.backbone.variables}
    for name in before.keys() - new:
        np.testing.assert_array_equal(before[name], weights[name], err_msg=name)
    assert before["output_fc/kernel:0"].shape[-1] == 32
    step = make_train_step(tf.distribute.get_strategy(), state, settings, frozen=True)
    step(iter(tf.data.Dataset.from_tensors(tuple(part[0] for part in tiny_network.images()))))
    for variable in state.backbone.variables:
        moved = np.abs(variable.numpy() - before[variable.name]).max()
        # Before its normalisation a bias of the last layer has no gradient.
        assert (moved > 0) == (variable.name in new) or variable.name == "output_fc/bias:0", variable.name
    rates = {v.name for v in state.backbone.trainable_variables if state.optimizer._var_key(v) in state.optimizer._slow}
    assert rates == {v.name for v in state.backbone.trainable_variables} - new


def test_another_network_than_the_run_s_is_refused(tmp_path):
    _run(tmp_path / "run", tiny_network.SETTINGS)
    (name,) = (Path(tmp_path) / "run").glob("checkpoint/*.index")
    name.unlink()
    for dim in (6, 4):
        with pytest.raises(
            DataError, match=r"model.index: expected a whole file of a checkpoint. Received: no such file"
        ):
            create_state(_starting(tmp_path / "run", embedding_dim=dim, init_centres="random"), 4)
