"""The protocol as TFMA metrics: folds never depend on the order in which Beam delivers."""

import json

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from arcface_common.protocol import insightface
from arcface_common.protocol.conditions import FIGURES, parse_all
from evaluator_custom.tfma_bridge import metrics

CONDITIONS = ("lfw.accuracy >= 0.9", "lfw.accuracy change >= 0", "cfp_fp.tar gap group <= 0.1")


def _thresholds(has_baseline):
    config = metrics.make_eval_config(parse_all(CONDITIONS))
    config = tfma.utils.update_eval_config_with_defaults(config, has_baseline=has_baseline, rubber_stamp=True)
    tfma.utils.verify_eval_config(config)
    found = tfma.metrics.metric_thresholds_from_metrics_specs(config.metrics_specs, eval_config=config)
    return {
        (key.name, key.is_diff): [dict(spec.feature_values)["set"] for spec, _ in bounds]
        for key, bounds in found.items()
        if key.model_name != "baseline"
    }


def test_config_asks_for_every_figure_and_bounds_what_conditions_name():
    config = metrics.make_eval_config(parse_all(CONDITIONS))
    names = [metric.config for spec in config.metrics_specs for metric in spec.metrics]
    assert names[: len(FIGURES)] == [f'{{"name": "{figure}", "folds": "contiguous"}}' for figure in FIGURES]
    values = {("accuracy", False): ["lfw"], ("tar_gap_group", False): ["cfp_fp"], ("pairs", False): ["lfw", "cfp_fp"]}
    assert _thresholds(has_baseline=True) == {**values, ("accuracy_change", True): ["lfw"]}
    # A first model is held against no change, and yet to every set that a condition names.
    assert _thresholds(has_baseline=False) == values


def test_unknown_figure():
    with pytest.raises(ValueError, match="Received: name='precision'"):
        metrics.VerificationMetric("precision")


def test_combiner_orders_pairs_before_folds_are_cut():
    rng = np.random.default_rng(0)
    same = rng.random(200) < 0.5
    distances = np.clip(np.where(same, rng.normal(1.0, 0.4, 200), rng.normal(1.8, 0.4, 200)), 0, 4)
    norms = rng.uniform(5, 25, 200)
    groups = rng.choice(["a", "b"], 200).tolist()
    expected = insightface.evaluate(distances, same, norms)
    key = metric_types.MetricKey(name="result")
    combiner = metrics.CollectPairs(key, "contiguous")
    rows = [
        (i, int(s), d, n, (f"group={g}", "x=y=z") if i else ())
        for i, (d, s, n, g) in enumerate(zip(distances, same, norms, groups, strict=True))
    ]
    parts = [[rows[i] for i in part] for part in np.array_split(np.random.default_rng(3).permutation(200), 3)]
    table = combiner.extract_output(combiner.merge_accumulators(parts))[key]
    assert table.result == expected
    np.testing.assert_array_equal(table.result.correct, expected.correct)
    assert table.attributes == {"group": ["", *groups[1:]], "x": ["", *["y=z"] * 199]}


def test_no_pairs_at_all():
    combiner = metrics.CollectPairs(metric_types.MetricKey(name="result"), "contiguous")
    (table,) = combiner.extract_output(combiner.create_accumulator()).values()
    assert table.figure("pairs") == 0


def test_the_cut_of_the_folds_reaches_every_metric():
    config = metrics.make_eval_config(parse_all(CONDITIONS), "stratified")
    assert all('"folds": "stratified"' in metric.config for spec in config.metrics_specs for metric in spec.metrics)
    combiner = metrics.CollectPairs(metric_types.MetricKey(name="result"), "stratified")
    rows = [(i, int(i < 20), 0.5 if i < 20 else 1.5, 1.0, ()) for i in range(40)]
    (table,) = combiner.extract_output(rows).values()
    assert table.result.folds == "stratified"
    assert table.result.warnings == ()


def test_bounds_point_the_way_that_conditions_say():
    conditions = parse_all(["lfw.accuracy >= 0.9", "lfw.far <= 0.01", "lfw.accuracy change >= -0.02", *CONDITIONS[2:]])
    found = {}
    for spec in metrics.make_eval_config(conditions).metrics_specs:
        for metric in spec.metrics:
            for bound in metric.per_slice_thresholds:
                found[json.loads(metric.config)["name"]] = bound.threshold
    assert found["accuracy"].value_threshold.lower_bound.value == 0.9
    assert found["far"].value_threshold.upper_bound.value == 0.01
    assert found["tar_gap_group"].value_threshold.upper_bound.value == 0.1
    assert found["pairs"].value_threshold.lower_bound.value == 1
    change = found["accuracy_change"].change_threshold
    assert (change.absolute.value, change.direction) == (-0.02, config_pb2.MetricDirection.HIGHER_IS_BETTER)
    for name, upper in (("accuracy", False), ("far", True), ("tar_gap_group", True), ("pairs", False)):
        assert found[name].value_threshold.HasField("upper_bound") == upper
        assert found[name].value_threshold.HasField("lower_bound") != upper
