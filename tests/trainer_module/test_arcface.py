"""The head and the schedules, against the formulas of the papers in numpy."""

import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from trainer_module.heads.arcface import ArcFace
from trainer_module.schedules import WarmupCosine, margin_at


def _head(embeddings, centres, scale=64.0):
    head = ArcFace(embeddings.shape[1], centres.shape[1], scale)
    head.centres.assign(centres)
    return head


def test_logits_are_the_cosine_of_the_angle_plus_the_margin():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(6, 8)).astype(np.float32)
    centres = rng.normal(size=(8, 5)).astype(np.float32)
    labels = np.array([0, 1, 2, 3, 4, 0])
    head = _head(embeddings, centres)
    cosines = head.cosines(tf.constant(embeddings))
    logits = head.logits(cosines, tf.constant(labels, tf.int64), tf.constant(0.5)).numpy()

    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = unit @ (centres / np.linalg.norm(centres, axis=0))
    theta = np.arccos(expected[np.arange(6), labels])
    assert np.all(theta + 0.5 < np.pi)
    expected[np.arange(6), labels] = np.cos(theta + 0.5)
    assert_close(logits, 64 * expected)


def test_target_logit_falls_with_the_angle_over_the_whole_half_circle():
    theta = np.linspace(0.01, np.pi - 0.01, 200)
    cosines = tf.constant(np.stack([np.cos(theta), np.zeros_like(theta)], axis=1), tf.float32)
    head = ArcFace(4, 2)
    labels = tf.zeros([200], tf.int64)
    logits = head.logits(cosines, labels, tf.constant(0.5)).numpy()[:, 0]
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

    head = ArcFace(2, 2, scale=64.0)
    cosines = tf.constant(np.stack([np.zeros_like(cosine), cosine], axis=1), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(cosines)
        logits = head.logits(cosines, tf.ones([len(cosine)], tf.int64), tf.constant(margin, tf.float32))[:, 1]
    gradient = tape.gradient(logits, cosines)[:, 1]
    np.testing.assert_allclose(logits / 64, expected, rtol=0, atol=5e-5)
    np.testing.assert_allclose(gradient / 64, slope, rtol=1e-3)


@pytest.mark.parametrize("target", [1.0, -1.0])
def test_gradient_is_finite_where_an_embedding_lies_on_an_axis(target):
    head = ArcFace(2, 2)
    head.centres.assign([[1.0, 0.0], [0.0, 1.0]])
    embedding = tf.Variable([[target, 0.0]])
    with tf.GradientTape() as tape:
        logits = head.logits(head.cosines(embedding), tf.constant([0], tf.int64), tf.constant(0.5))
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits([0], logits)
    assert np.all(np.isfinite(tape.gradient(loss, embedding).numpy()))


def test_one_class_leaves_nothing_to_tell_apart():
    with pytest.raises(ValueError, match="Received: classes=1"):
        ArcFace(4, 1)


def test_learning_rate_warms_up_then_falls_to_zero():
    schedule = WarmupCosine(0.1, warmup_steps=10, steps=110)
    rates = [float(schedule(tf.constant(step))) for step in range(111)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.01, rtol=1e-6)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[60] == pytest.approx(0.05)
    assert rates[110] == pytest.approx(0, abs=1e-8)
    assert WarmupCosine(**schedule.get_config())(tf.constant(42)) == schedule(tf.constant(42))


def test_margin_grows_linearly():
    assert [float(margin_at(tf.constant(step), 0.5, 10)) for step in (0, 5, 10, 99)] == [0.0, 0.25, 0.5, 0.5]
    assert float(margin_at(tf.constant(0), 0.5, 0)) == 0.5
