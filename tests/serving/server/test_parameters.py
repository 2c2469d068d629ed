"""TF Serving's batching file."""

import subprocess
import sys

import pytest

from arcface_common.errors import DataError
from serving.protos import FOLDER
from serving.server.batching import BatchingParameters
from serving.server.parameters import read_batching_parameters


def test_the_default_is_the_file_that_ships_for_tf_serving():
    assert read_batching_parameters() == BatchingParameters()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", BatchingParameters()),
        ("max_batch_size { value: 4 }", BatchingParameters(4, allowed_batch_sizes=())),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: 2 allowed_batch_sizes: 4 num_batch_threads { value: 3 }",
            BatchingParameters(4, num_batch_threads=3, allowed_batch_sizes=(2, 4)),
        ),
        (
            "batch_timeout_micros { value: 0 } pad_variable_length_inputs: false",
            BatchingParameters(batch_timeout_micros=0),
        ),
    ],
)
def test_what_is_said_counts(text, expected, tmp_path):
    path = tmp_path / "batching.config"
    path.write_text(text)
    assert read_batching_parameters(path) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("max_batch_sizes { value: 4 }", "BatchingParameters"),
        ("max_batch_size { value: 0 }", "max_batch_size: expected at least 1. Received: 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros: expected at least 0. Received: -1"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: 8", r"last of which is max_batch_size, 4. Received: \[8\]"),
        ("allowed_batch_sizes: 32 allowed_batch_sizes: 8", "rising"),
    ],
)
def test_what_contradicts_itself_is_refused(text, complaint, tmp_path):
    path = tmp_path / "batching.config"
    path.write_text(text)
    with pytest.raises(DataError, match=complaint):
        read_batching_parameters(path)


def test_kept_descriptors_are_those_of_the_proto_files(tmp_path):
    # In a process of its own: protoc and TensorFlow bring a C++ protobuf each, which must not meet.
    subprocess.run([sys.executable, "-m", "tools.protos", tmp_path], check=True, cwd=FOLDER.parents[1])
    for kept in FOLDER.glob("*.binpb"):
        assert kept.read_bytes() == (tmp_path / kept.name).read_bytes()
