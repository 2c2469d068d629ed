"""Steps of training a tiny network, against the same in float64 numpy: losses, norms and every weight."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from arcface_common.errors import ConfigError
from tests.processes import python
from tests.trainer_module import reference_step, tiny_network
from tests.trainer_module.tiny_network import SCENARIOS, STEPS
from trainer_module import backbones
from trainer_module.data.images import to_input
from trainer_module.optimization.loss_scale import scale_of
from trainer_module.settings import TrainSettings
from trainer_module.training import checkpoints
from trainer_module.training.state import create_state
from trainer_module.training.step import make_train_step
from trainer_module.workers import distribution

# float32 against float64, as a share of the largest change of an array: 1e-4 seen with SGD. AdamW divides a gradient by
# its own size, so that a small one shows the rounding of large ones.
_RELATIVE = {"sgd": 2e-3, "adamw": 0.05}
# A number of 11 bits is off by 5e-4, one of 8 bits by 4e-3; 0.9% and 2% of weights are seen.
_COARSE = {"float32": 0.0, "mixed_float16": 0.02, "mixed_bfloat16": 0.08}


@pytest.fixture(scope="module")
def expected():
    """Scenario and number of replicas -> what numpy comes to; `sync_batch` normalises all images together.

    A micro-batch is normalised by itself. Batch renormalisation begins as batch normalisation.
    """

    @functools.cache
    def of(name, replicas):
        groups = 1 if name == "sync_batch" else replicas * SCENARIOS[name].accumulate
        return reference_step.run_steps(SCENARIOS[name], tiny_network.initial_weights(), tiny_network.images(), groups)

    return of


def _check(found, expected, settings):
    coarse = _COARSE[settings.precision]
    initial = tiny_network.initial_weights()
    for step in range(STEPS):
        assert found[f"{step}/loss_scale"] == (2**15 if settings.precision == "mixed_float16" else 1)
        for metric in ("loss", "penalty", "l2_factor", "norm", "gradient_norm", "accuracy"):
            close = pytest.approx(expected[f"{step}/{metric}"], rel=max(1e-4, coarse / 2))
            assert found[f"{step}/{metric}"] == close, (step, metric)
        for name, value in initial.items():
            change = expected[f"{step}/{name}"] - value
            if step < settings.freeze_steps and name != "centres":
                np.testing.assert_array_equal(found[f"{step}/{name}"], value.astype(np.float32), err_msg=name)
                continue
            error = np.abs(found[f"{step}/{name}"] - value - change).max() / np.abs(change).max()
            assert error < max(_RELATIVE[settings.optimizer], coarse), (step, name)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "sync_batch"])
def test_one_replica(name, expected):
    found = tiny_network.run_steps(tf.distribute.get_strategy(), SCENARIOS[name])
    _check(found, expected(name, 1), SCENARIOS[name])


@pytest.mark.parametrize("name", ["sgd", "accumulated", "frozen"])
def test_central_storage(name, expected):
    strategy = distribution.make_strategy(dataclasses.replace(SCENARIOS[name], strategy="central"))
    _check(tiny_network.run_steps(strategy, SCENARIOS[name]), expected(name, 1), SCENARIOS[name])


@pytest.mark.parametrize("loss", ["arcface", "magface"])
def test_micro_batches_equal_one_batch_where_no_layer_sees_the_batch(loss):
    settings = dataclasses.replace(tiny_network.SETTINGS, norm="group", loss=loss, ignored_from=0.4)
    whole, *parts = (
        tiny_network.run_steps(tf.distribute.get_strategy(), dataclasses.replace(settings, accumulate=count))
        for count in (1, 2, 4, 8)
    )
    for found in parts:
        for name, value in whole.items():
            if name.endswith("/input_seconds"):
                continue
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5 * np.abs(value).max(), err_msg=name)


@pytest.mark.slow
def test_eight_micro_batches_of_16_equal_128_through_a_whole_network():
    size = {"batch_size": 128, "steps": 10, "warmup_steps": 0}
    settings = TrainSettings(backbone="iresnet_tiny", norm="group", **size)
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (128, 112, 112, 3), dtype=np.uint8)
    batch = tf.data.Dataset.from_tensors((pixels, random.integers(0, 50, 128), random.random(128) < 0.5))

    def weights(accumulate):
        chosen = dataclasses.replace(settings, accumulate=accumulate)
        state = create_state(chosen, 50)
        before = [v.numpy() for v in state.trainable_variables()]
        make_train_step(tf.distribute.get_strategy(), state, chosen)(iter(batch))
        return [(v.name, v.numpy(), old) for v, old in zip(state.trainable_variables(), before, strict=True)]

    for (name, whole, before), (_, parts, _) in zip(weights(1), weights(8), strict=True):
        assert np.abs(whole - before).max() > 0, name
        np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5 * np.abs(whole).max(), err_msg=name)


@pytest.mark.parametrize("norm", ["batch", "batch_renorm", "sync_batch"])
def test_frozen_statistics_normalise_and_stay(norm):
    settings = dataclasses.replace(tiny_network.SETTINGS, norm=norm, warmup_steps=0, flip=False)
    state = create_state(settings, tiny_network.CLASSES)
    for variable in state.backbone.non_trainable_variables:
        variable.assign(np.random.default_rng(1).uniform(0.5, 2.0, variable.shape))
    before = [v.numpy() for v in state.backbone.variables]
    pixels, classes, mirrored = (part[0] for part in tiny_network.images())
    embeddings = state.backbone(to_input(pixels, settings.pixel_format()), training=False)
    losses = state.head.loss(embeddings, tf.constant(classes), tf.constant(0.0), tf.constant(0)).losses
    frozen = dataclasses.replace(settings, frozen_statistics=True, init_from="what these variables are of")
    batch = tf.data.Dataset.from_tensors((pixels, classes, mirrored))
    found = make_train_step(tf.distribute.get_strategy(), state, frozen)(iter(batch))
    assert float(found["loss"]) == pytest.approx(float(tf.reduce_mean(losses)), rel=1e-5)
    trained = {variable.ref() for variable in state.backbone.trainable_variables}
    for variable, old in zip(state.backbone.variables, before, strict=True):
        assert np.array_equal(variable.numpy(), old) != (variable.ref() in trained), variable.name


def _one_batch():
    return tf.data.Dataset.from_tensors(tuple(part[0] for part in tiny_network.images())).repeat()


@pytest.mark.parametrize("norm", ["batch", "batch_renorm"])
def test_a_frozen_backbone_stays_as_it_is_to_the_bit_and_moves_after(norm, tmp_path):
    settings = dataclasses.replace(tiny_network.SETTINGS, norm=norm)
    tiny_network.write_run(create_state(settings, 5), settings, str(tmp_path))
    settings = dataclasses.replace(settings, init_from=str(tmp_path), freeze_steps=2)
    state = create_state(settings, tiny_network.CLASSES)
    before, centres = [v.numpy() for v in state.backbone.variables], state.head.centres.numpy()
    held, moving = (
        make_train_step(tf.distribute.get_strategy(), state, settings, frozen=frozen) for frozen in (True, False)
    )
    batches = iter(_one_batch())
    for _ in range(2):
        held(batches)
    for variable, value in zip(state.backbone.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.name)
    assert np.abs(state.head.centres.numpy() - centres).max() > 0
    assert len(state.trainable_variables()) == 6
    moving(batches)
    for variable, value in zip(state.backbone.variables, before, strict=True):
        assert variable.name.startswith("embedding/renorm") or np.abs(variable.numpy() - value).max() > 0, variable.name


def test_no_gradient_goes_through_a_frozen_backbone():
    settings = TrainSettings(backbone="iresnet_tiny", batch_size=4)
    state = create_state(settings, 5)
    spec = (
        tf.TensorSpec((4, 112, 112, 3), tf.uint8),
        tf.TensorSpec((4,), tf.int64),
        tf.TensorSpec((4,), tf.bool),
    )

    def operations(frozen):
        step = make_train_step(tf.distribute.get_strategy(), state, settings, frozen=frozen)
        graph = step.get_concrete_function(tf.data.IteratorSpec(spec)).graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        return [node.op for node in nodes]

    whole, frozen = operations(False), operations(True)
    assert "Conv2DBackpropFilter" in whole
    assert frozen.count("Conv2D") == whole.count("Conv2D")
    assert not [name for name in frozen if "Backprop" in name or name.startswith("FusedBatchNormGrad")]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_what_was_trained_in_mixed_precision_is_a_float32_network(precision, tmp_path):
    settings = dataclasses.replace(tiny_network.SETTINGS, precision=precision)
    state = create_state(settings, tiny_network.CLASSES)
    assert state.backbone.get_layer("fc").compute_dtype == precision.removeprefix("mixed_")
    examples = tuple(part[0] for part in tiny_network.images())
    make_train_step(tf.distribute.get_strategy(), state, settings)(iter(tf.data.Dataset.from_tensors(examples)))
    checkpoints.write(state.checkpoint(), str(tmp_path), is_chief=True)
    exported = backbones.build(settings.backbone, **settings.build_options())  # as the Exporter does
    checkpoints.read_backbone(exported, str(tmp_path))
    assert {layer.compute_dtype for layer in exported.layers} == {"float32"}
    for trained, read in zip(state.backbone.variables, exported.variables, strict=True):
        assert trained.dtype == read.dtype == tf.float32
        np.testing.assert_array_equal(trained.numpy(), read.numpy())


def test_the_loss_scale_is_part_of_a_checkpoint(tmp_path):
    settings = dataclasses.replace(tiny_network.SETTINGS, precision="mixed_float16", scale=1e6)
    state, again = create_state(settings, tiny_network.CLASSES), create_state(settings, tiny_network.CLASSES)
    examples = tuple(part[0] for part in tiny_network.images())
    make_train_step(tf.distribute.get_strategy(), state, settings)(iter(tf.data.Dataset.from_tensors(examples)))
    checkpoints.write(state.checkpoint(), str(tmp_path), is_chief=True)
    assert scale_of(again.optimizer) == 2**15
    again.checkpoint().read(checkpoints.path_in(str(tmp_path))).assert_consumed()
    assert scale_of(again.optimizer) == 2**14
    assert again.optimizer.iterations == 1


def test_float16_skips_a_step_that_overflows_and_halves_the_scale():
    settings = dataclasses.replace(tiny_network.SETTINGS, precision="mixed_float16", scale=1e6)
    found = tiny_network.run_steps(tf.distribute.get_strategy(), settings)
    initial = {name: value.astype(np.float32) for name, value in tiny_network.initial_weights().items()}
    assert [found[f"{step}/loss_scale"] for step in range(STEPS)] == [2**15, 2**14, 2**13]
    assert np.isfinite(found["0/loss"])
    assert not np.isfinite(found["0/gradient_norm"])
    for name, value in initial.items():
        np.testing.assert_array_equal(found[f"2/{name}"], value)


def test_a_batch_that_replicas_cannot_part_is_refused():
    settings = dataclasses.replace(tiny_network.SETTINGS, accumulate=4)

    class FourReplicas:
        num_replicas_in_sync = 4

    with pytest.raises(ConfigError, match="batch_size must be a multiple of 16, replicas x train.accumulate"):
        make_train_step(FourReplicas(), create_state(settings, tiny_network.CLASSES), settings)


@pytest.fixture(scope="module")
def two_replicas(tmp_path_factory):
    path = tmp_path_factory.mktemp("two") / "results.npz"
    done = python(["-m", tiny_network.__name__, str(path)])
    assert done.returncode == 0, done.stderr
    with np.load(path) as results:
        return dict(results)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_two_replicas(name, two_replicas, expected):
    found = {key.removeprefix(f"{name}/"): value for key, value in two_replicas.items() if key.startswith(f"{name}/")}
    _check(found, expected(name, 2), SCENARIOS[name])


def test_the_scenarios_tell_right_from_wrong(expected):
    """What the comparison relies on: else a step that leaves it out would pass."""
    sgd, clipped = expected("sgd", 1), expected("sgd, clipped", 1)
    assert any(sgd[f"{step}/accuracy"] != sgd[f"with margin/{step}"] for step in range(STEPS))
    assert sgd["0/gradient_norm"] > 2 * SCENARIOS["sgd, clipped"].clip_norm
    assert np.abs(clipped["2/kernel"] - sgd["2/kernel"]).max() > 0.1 * np.abs(sgd["2/kernel"]).max()
    factors = [expected("decaying L2", replicas)[f"{step}/l2_factor"] for replicas in (1, 2) for step in range(STEPS)]
    assert factors == pytest.approx([1.0, 0.8, 0.8] * 2)  # it falls, and stays
    for name in ("step", "polynomial"):
        assert np.abs(expected(name, 1)["2/kernel"] - sgd["2/kernel"]).max() > 0.1 * np.abs(sgd["2/kernel"]).max()
    for name, usual in (("slow adamw", "adamw"), ("frozen adamw", "slow adamw"), ("frozen", "decaying L2")):
        assert np.abs(expected(name, 1)["2/kernel"] - expected(usual, 1)["2/kernel"]).max() > 1e-3
    assert abs(expected("sync_batch", 2)["0/loss"] / expected("sgd", 2)["0/loss"] - 1) > 0.01
