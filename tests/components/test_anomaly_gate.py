"""The gate lets described examples pass and stops the rest."""

import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from arcface_common.errors import DataError
from components.anomaly_gate import AnomalyGateExecutor
from pipeline.create import schema_text


def _validate(tmp_path, statistics: statistics_pb2.DatasetFeatureStatisticsList, schema: str = ""):
    artifacts = {}
    for name, kind in (
        ("statistics", standard_artifacts.ExampleStatistics),
        ("schema", standard_artifacts.Schema),
        ("anomalies", standard_artifacts.ExampleAnomalies),
    ):
        artifacts[name] = kind()
        artifacts[name].uri = str(tmp_path / name)
    artifacts["statistics"].split_names = artifact_utils.encode_split_names(["train"])
    artifacts["statistics"].span = 0
    split = artifact_utils.get_split_uri([artifacts["statistics"]], "train")
    io_utils.write_bytes_file(f"{split}/FeatureStats.pb", statistics.SerializeToString())
    io_utils.write_string_file(f"{artifacts['schema'].uri}/schema.pbtxt", schema or schema_text("statistics"))
    AnomalyGateExecutor().Do(
        {"statistics": [artifacts["statistics"]], "schema": [artifacts["schema"]]},
        {"anomalies": [artifacts["anomalies"]]},
        {"exclude_splits": "[]"},
    )


def _statistics(**columns):
    import pandas as pd

    return tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns), n_jobs=1)


def test_good_examples_pass(tmp_path):
    _validate(tmp_path, _statistics(label=[0, 1, 1], key=[1, 2, 3]))


def test_a_negative_identity_stops(tmp_path):
    with pytest.raises(DataError, match="train/label"):
        _validate(tmp_path, _statistics(label=[0, -1, 1], key=[1, 2, 3]))


def test_a_missing_feature_stops(tmp_path):
    with pytest.raises(DataError, match="train/key"):
        _validate(tmp_path, _statistics(label=[0, 1, 1]))


def test_an_anomaly_of_the_whole_data_set_stops(tmp_path):
    """No feature is to blame: there are too few examples, or none."""
    schema = text_format.Parse(schema_text("statistics"), schema_pb2.Schema())
    schema.dataset_constraints.min_examples_count = 4
    with pytest.raises(DataError, match="Received: train: .*examples"):
        _validate(tmp_path / "few", _statistics(label=[0, 1, 1], key=[1, 2, 3]), text_format.MessageToString(schema))
    _validate(
        tmp_path / "enough", _statistics(label=[0, 1, 1, 1], key=[1, 2, 3, 4]), text_format.MessageToString(schema)
    )


def test_all_curated_schemas_parse():
    for name in ("examples", "statistics", "pairs"):
        assert text_format.Parse(schema_text(name), schema_pb2.Schema()).feature
