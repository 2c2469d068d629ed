"""The margins and the heads, against the formulas of the papers in numpy."""

import doctest

import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from trainer_module.heads import full
from trainer_module.heads.full import FullCentres
from trainer_module.heads.margins import arcface


def _reference(embeddings, centres, labels, scale, margin):
    """Losses and nearest classes in float64; each angle plus the margin is less than pi."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = unit.astype(np.float64) @ (centres / np.linalg.norm(centres, axis=0))
    rows = np.arange(len(labels))
    theta = np.arccos(cosines[rows, labels])
    assert np.all(theta + margin < np.pi)
    logits = scale * cosines
    logits[rows, labels] = scale * np.cos(theta + margin)
    top = logits.max(axis=1)
    losses = top + np.log(np.exp(logits - top[:, None]).sum(axis=1)) - logits[rows, labels]
    return losses, cosines.argmax(axis=1)


@pytest.mark.parametrize("scale", [1.0, 64.0])
def test_loss_is_the_cross_entropy_with_the_margin_and_hits_are_without_it(scale):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(12, 8)).astype(np.float32)
    centres = rng.normal(size=(8, 5)).astype(np.float32)
    # Half of the images are of the nearest class, which the margin takes the lead from.
    nearest = _reference(embeddings, centres, np.zeros(12, int), scale, 0.5)[1]
    labels = np.where(np.arange(12) % 2, rng.integers(0, 5, 12), nearest)
    head = FullCentres(8, 5, scale)
    head.centres.assign(centres)
    losses, hits = head.loss(tf.constant(embeddings), tf.constant(labels, tf.int64), tf.constant(0.5))
    expected, _ = _reference(embeddings, centres, labels, scale, 0.5)
    assert_close(losses.numpy(), expected)
    assert hits.numpy().tolist() == (nearest == labels).tolist()
    assert 0 < sum(hits.numpy()) < 12
    assert head.nearest(tf.constant(embeddings)).numpy().tolist() == nearest.tolist()


def test_target_logit_falls_with_the_angle_over_the_whole_half_circle():
    theta = np.linspace(0.01, np.pi - 0.01, 200)
    logits = arcface(tf.constant(np.cos(theta), tf.float32), tf.constant(0.5)).numpy()
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
        logits = arcface(cosines, tf.constant(margin, tf.float32))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=5e-5)
    np.testing.assert_allclose(tape.gradient(logits, cosines), slope, rtol=1e-3)


@pytest.mark.parametrize("target", [1.0, -1.0])
def test_gradient_is_finite_where_an_embedding_lies_on_an_axis(target):
    head = FullCentres(2, 2)
    head.centres.assign([[1.0, 0.0], [0.0, 1.0]])
    embedding = tf.Variable([[target, 0.0]])
    with tf.GradientTape() as tape:
        losses, _ = head.loss(embedding, tf.constant([0], tf.int64), tf.constant(0.5))
    assert np.all(np.isfinite(tape.gradient(losses, embedding).numpy()))


def test_one_class_leaves_nothing_to_tell_apart():
    with pytest.raises(ValueError, match="Received: classes=1"):
        FullCentres(4, 1)


def test_example_in_the_docstring():
    assert doctest.testmod(full) == doctest.TestResults(failed=0, attempted=4)
