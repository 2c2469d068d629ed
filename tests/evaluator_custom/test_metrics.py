"""The protocol as TFMA metrics: folds never depend on the order in which Beam delivers."""

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types

from evaluator_custom import metrics, protocol


def test_bounds_are_for_sets_that_there_are():
    with pytest.raises(ValueError, match=r"expected bounds for the sets .* Received: \['agedb_30'\]"):
        metrics.make_eval_config(("lfw", "cfp_fp"), {"agedb_30": 0.9})


def test_config_asks_for_every_figure_and_bounds_accuracy_alone():
    config = metrics.make_eval_config(("lfw", "cfp_fp"), {"lfw": 0.9})
    tfma.utils.verify_eval_config(config)
    names = [metric.config for spec in config.metrics_specs for metric in spec.metrics]
    assert names == [f'{{"name": "{figure}"}}' for figure in metrics.FIGURES]
    thresholds = tfma.metrics.metric_thresholds_from_metrics_specs(config.metrics_specs, eval_config=config)
    assert [key.name for key in thresholds] == ["accuracy"]


def test_unknown_figure():
    with pytest.raises(ValueError, match="Received: name='precision'"):
        metrics.VerificationMetric("precision")


def test_combiner_orders_pairs_before_folds_are_cut():
    rng = np.random.default_rng(0)
    same = rng.random(200) < 0.5
    distances = np.clip(np.where(same, rng.normal(1.0, 0.4, 200), rng.normal(1.8, 0.4, 200)), 0, 4)
    norms = rng.uniform(5, 25, 200)
    expected = protocol.evaluate(distances, same, norms)
    key = metric_types.MetricKey(name="result")
    combiner = metrics.CollectPairs(key)
    rows = [(i, int(s), d, n) for i, (d, s, n) in enumerate(zip(distances, same, norms, strict=True))]
    parts = [[rows[i] for i in part] for part in np.array_split(np.random.default_rng(3).permutation(200), 3)]
    result = combiner.extract_output(combiner.merge_accumulators(parts))[key]
    assert result == expected
    np.testing.assert_array_equal(result.correct, expected.correct)
