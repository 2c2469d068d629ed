"""The margins and the heads, against the formulas of the papers in numpy."""

import dataclasses
import doctest
import typing

import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tests.helpers import ROOT
from tests.trainer_module.heads import reference_losses as reference
from trainer_module.heads import full, margins
from trainer_module.heads.full import FullCentres, HeadOptions
from trainer_module.heads.margins import add_angle, create_margin
from trainer_module.heads.sampled import SampledCentres, draw
from trainer_module.loss_facts import LOSSES
from trainer_module.optimization.optimizers import LayerwiseSGD
from trainer_module.settings import TrainSettings


def test_target_logit_falls_with_the_angle_over_the_whole_half_circle():
    theta = np.linspace(0.01, np.pi - 0.01, 200)
    logits = add_angle(tf.constant(np.cos(theta), tf.float32), tf.constant(0.5)).numpy()
    assert np.all(np.diff(logits) < 0)


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5, 1.2])
def test_values_and_gradients_are_those_of_the_formulas_over_the_whole_circle(margin):
    """cos(theta + m); beyond theta = pi - m InsightFace's cos(theta) - m sin(pi - m); at cos = 1 and -1 no infinity."""
    border = -np.cos(margin)
    cosine = np.array([-1.0, -0.999, border - 1e-3, border + 1e-3, -0.3, 0.0, 0.6, 0.999, 1.0])
    cosine = np.clip(cosine, -1, 1).astype(np.float32).astype(np.float64)
    theta = np.arccos(cosine)
    within = cosine > border
    expected = np.where(within, np.cos(theta + margin), cosine - margin * np.sin(np.pi - margin))
    # d cos(theta + m) / d cos(theta); where theta is 0 or pi it is infinite, and the sine's share is left out.
    ends = np.abs(cosine) == 1
    ratio = np.divide(np.cos(theta), np.sin(theta), out=np.zeros_like(theta), where=~ends)
    slope = np.where(within, np.cos(margin) + np.sin(margin) * ratio, 1.0)

    cosines = tf.constant(cosine, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(cosines)
        logits = add_angle(cosines, tf.constant(margin, tf.float32))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=5e-5)
    np.testing.assert_allclose(tape.gradient(logits, cosines), slope, rtol=1e-3)


def test_one_class_leaves_nothing_to_tell_apart():
    with pytest.raises(ValueError, match="Received: classes=1"):
        FullCentres(4, 1)


def test_example_in_the_docstring():
    assert doctest.testmod(full) == doctest.TestResults(failed=0, attempted=4)


CASES = [
    ("arcface", {}, {}),
    ("cosface", {}, {}),
    ("combined", {}, {}),
    ("combined", {"m1": 1.35, "m3": 0.1}, {}),
    ("combined", {"m1": 0.9, "m3": 0.15}, {}),
    ("adaface", {}, {}),
    ("adaface", {"h": 0.8, "momentum": 0.5}, {}),
    ("magface", {"lower_norm": 1.0, "upper_norm": 4.0, "weight": 3.0}, {}),
    ("curricularface", {"momentum": 0.9}, {}),
    ("normface", {}, {}),
    ("softmax", {}, {}),
    ("arcface", {}, {"sub_centres": 3}),
    ("softmax", {}, {"sub_centres": 2}),
    ("cosface", {}, {"ignored_from": 0.3}),
    ("curricularface", {}, {"ignored_from": 0.3, "sub_centres": 2}),
]


def test_each_loss_is_known_everywhere():
    """A new one is a setting, has a formula of its own to be held to below, and a row in the docs with its options."""
    names = set(LOSSES)
    fields = {field.name: field for field in dataclasses.fields(TrainSettings)}
    assert set(typing.get_args(typing.get_type_hints(TrainSettings)["loss"])) == names == set(margins._MARGINS)
    assert {loss for loss, *_ in CASES} == names == {*reference.TARGETS, "softmax"}
    rows = (ROOT / "docs" / "how-to" / "training.md").read_text().splitlines()
    for name, facts in LOSSES.items():
        (row,) = (row for row in rows if row.startswith(f"| `{name}`"))
        assert all(f"`{option}`" in row for option in facts.options), row
        assert all(option in str(fields["loss_options"]) for option in facts.options), name


@pytest.mark.parametrize(("loss", "given", "more"), CASES)
def test_losses_and_gradients_are_the_papers(loss, given, more):
    random = np.random.default_rng(3)
    many = more.get("sub_centres", 1)
    embeddings = random.normal(size=(12, 6)) * random.uniform(0.3, 3, (12, 1))
    centres, classes = random.normal(size=(5, many, 6)), random.integers(0, 5, 12)
    options, margin = LOSSES[loss].chosen(given), LOSSES[loss].margin
    chosen = HeadOptions(scale=8.0, margin=create_margin(loss, given), normalized=loss != "softmax", **more)
    head = FullCentres(6, 5, chosen)
    head.centres.assign(centres)
    state = reference.state_of(loss, embeddings, centres, classes, options)
    told = {"m": margin, "options": options, "state": state, "ignored_from": more.get("ignored_from", 1.0)}

    def total(rows, columns):
        return reference.losses(loss, rows, columns, classes, **told).sum()

    given_embeddings = tf.Variable(embeddings, dtype=tf.float32)
    with tf.GradientTape() as tape:
        found = head.loss(given_embeddings, tf.constant(classes), tf.constant(margin, tf.float32), tf.constant(0))
    of_embeddings, of_centres = tape.gradient(found.losses, [given_embeddings, head.centres])
    assert_close(found.losses.numpy(), reference.losses(loss, embeddings, centres, classes, **told))
    assert_close(of_embeddings.numpy(), reference.gradient(lambda rows: total(rows, centres), embeddings))
    assert_close(of_centres.numpy(), reference.gradient(lambda columns: total(embeddings, columns), centres))
    cosines = reference.cosines(embeddings, centres)
    if loss != "softmax":
        assert (found.hits.numpy() == (cosines.argmax(axis=1) == classes)).all()
    assert (head.nearest(given_embeddings).numpy() == cosines.argmax(axis=1)).all()


def test_straight_through_hands_on_the_gradient_of_no_margin():
    random = np.random.default_rng(0)
    embeddings, classes = random.normal(size=(9, 4)).astype(np.float32), random.integers(0, 3, 9)
    found = {}
    for name, options in (("arcface", {}), ("arcface", {"straight_through": True}), ("normface", {})):
        head = FullCentres(4, 3, HeadOptions(scale=1e-3, margin=create_margin(name, options)))
        variable = tf.Variable(embeddings)
        with tf.GradientTape() as tape:
            losses = head.loss(variable, tf.constant(classes), tf.constant(0.5), tf.constant(0)).losses
        found[name, bool(options)] = losses.numpy(), tape.gradient(losses, variable).numpy()
    # The same values; at so small a scale the softmax is flat, and the gradient that of the logits alone.
    np.testing.assert_array_equal(found["arcface", False][0], found["arcface", True][0])
    np.testing.assert_allclose(found["arcface", True][1], found["normface", False][1], rtol=2e-3, atol=1e-8)
    assert not np.allclose(found["arcface", False][1], found["normface", False][1], rtol=0.1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("place", ["on its centre", "opposite", "at the origin"])
def test_gradients_are_finite_everywhere(loss, place):
    head = FullCentres(2, 2, HeadOptions(margin=create_margin(loss), normalized=loss != "softmax"))
    head.centres.assign([[[1.0, 0.0]], [[0.0, 1.0]]])
    embedding = tf.Variable([[{"on its centre": 2.0, "opposite": -2.0, "at the origin": 0.0}[place], 0.0]])
    with tf.GradientTape() as tape:
        margin = tf.constant(LOSSES[loss].margin, tf.float32)
        losses = head.loss(embedding, tf.constant([0], tf.int64), margin, tf.constant(0)).losses
    assert np.isfinite(losses.numpy()).all()
    for gradient in tape.gradient(losses, [embedding, head.centres]):
        assert np.isfinite(gradient.numpy()).all()


@pytest.mark.parametrize("shape", [(7, 1, 6), (5, 3, 5), (300, 1, 128)])
def test_rows_of_the_first_centres_are_those_of_all(shape):
    whole = tf.random.stateless_normal(shape, [3, 0], stddev=0.01).numpy()
    np.testing.assert_array_equal(
        FullCentres(shape[2], shape[0], HeadOptions(seed=3, sub_centres=shape[1])).centres, whole
    )
    for begin, end in ((0, 2), (1, 5), (3, 3), (4, shape[0])):
        np.testing.assert_array_equal(full.initial_centres(shape, 3, begin, end), whole[begin:end])


def test_half_precision_is_made_single():
    head = FullCentres(4, 3)
    embeddings = tf.constant(np.random.default_rng(0).normal(size=(5, 4)), tf.float16)
    losses = head.loss(embeddings, tf.constant([0, 1, 2, 0, 1], tf.int64), tf.constant(0.5), tf.constant(0)).losses
    assert losses.dtype == tf.float32


def test_nearest_goes_through_many_classes_by_blocks(monkeypatch):
    random = np.random.default_rng(0)
    head, embeddings = FullCentres(8, 50), random.normal(size=(40, 8)).astype(np.float32)
    whole = head.nearest(tf.constant(embeddings)).numpy()
    monkeypatch.setattr(full, "BLOCK", 7)
    assert (head.nearest(tf.constant(embeddings)).numpy() == whole).all()
    assert len(set(whole)) > 10


def _sgd(rate, **settings):
    flat = {"schedule": "step", "milestones": (999,), "warmup_steps": 0, "learning_rate": rate}
    return LayerwiseSGD(TrainSettings(**flat, **settings), ())


def _sgd_steps(head, classes, embeddings):
    optimizer = _sgd(0.1, momentum=0.9, clip_norm=0.5)
    optimizer.build([head.centres])
    for step in range(len(classes)):
        with tf.GradientTape() as tape:
            batch = tf.constant(embeddings[step]), tf.constant(classes[step])
            found = head.loss(*batch, tf.constant(0.5), tf.constant(step))
            total = tf.reduce_sum(found.losses) + 0.01 * tf.nn.l2_loss(found.decayed)
        optimizer.apply_gradients([(tape.gradient(total, head.centres), head.centres)])
    return head.centres.numpy(), found.losses.numpy()


@pytest.mark.parametrize("many", [1, 2])
def test_a_share_of_one_is_the_full_head(many):
    random = np.random.default_rng(0)
    classes, embeddings = random.integers(0, 20, (4, 8)), random.normal(size=(4, 8, 6)).astype(np.float32)
    options = HeadOptions(sub_centres=many)
    whole = _sgd_steps(FullCentres(6, 20, options), classes, embeddings)
    sampled = _sgd_steps(SampledCentres(6, 20, 1.0, options), classes, embeddings)
    for found, expected in zip(sampled, whole, strict=True):
        assert_close(found, expected)


def test_a_sampled_step_trains_the_batch_s_classes_and_a_share_of_the_others():
    random = np.random.default_rng(0)
    head = SampledCentres(6, 1000, 0.1, HeadOptions(scale=4.0))
    classes, embeddings = random.integers(0, 1000, (1, 32)), random.normal(size=(1, 32, 6)).astype(np.float32)
    before = head.centres.numpy()
    after, _ = _sgd_steps(head, classes, embeddings)
    trained = set(np.flatnonzero((after != before).any(axis=(1, 2))))
    assert len(trained) == 100
    assert set(classes[0]) < trained


def test_what_is_drawn_goes_by_seed_and_step_and_is_even():
    def drawn(step, seed=1):
        return tuple(draw(200, 0.25, tf.constant([7, 7, 3], tf.int64), seed, tf.constant(step)).numpy())

    assert drawn(5) == drawn(5)
    assert len({drawn(5), drawn(6), drawn(5, seed=2)}) == 3
    counts = np.zeros(200)
    for step in range(100):
        found = drawn(step)
        assert len(found) == len(set(found)) == 50
        assert {3, 7} <= set(found)
        counts[list(found)] += 1
    others = np.delete(counts, [3, 7])
    assert abs(others.mean() - 24.2) < 0.1  # 48 of 198 in each of 100 draws
    assert others.std() < 6  # 4.3 is expected


def test_a_batch_of_more_classes_than_the_share_is_drawn_whole():
    assert list(draw(10, 0.1, tf.constant([4, 2, 9], tf.int64), 1, tf.constant(0)).numpy()) == [2, 4, 9]


def test_momentum_of_rows_that_are_not_drawn_stays():
    variable = tf.Variable(np.ones((4, 2), np.float32))
    optimizer = _sgd(0.5, momentum=0.5)
    optimizer.build([variable])
    for rows in ([0, 2], [2, 3]):
        slices = tf.IndexedSlices(tf.ones([2, 2]), tf.constant(rows), tf.constant([4, 2]))
        optimizer.apply_gradients([(slices, variable)])
    np.testing.assert_allclose(variable.numpy()[:, 0], [0.5, 1.0, 1 - 0.5 - 0.75, 0.5])
    np.testing.assert_allclose(optimizer.momentums[0].numpy()[:, 0], [-0.5, 0.0, -0.75, -0.5])
