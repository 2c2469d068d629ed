"""What errors say: of TensorFlow's the one sentence that matters, of numbers out of files whether they are any."""

import json

import pytest

from arcface_common.errors import in_short, is_number, without_bytes

GRAPH = """Graph execution error:

Detected at node map/while/DecodeJpeg defined at (most recent call last):
  File "/usr/bin/arcface-tfx", line 8, in <module>

  File ".../click/core.py", line 1653, in invoke

Invalid PNG data, size 37817
\t [[{{node map/while/DecodeJpeg}}]] [Op:__inference_step_29]"""
DATASET = (
    "{{function_node __wrapped__IteratorGetNext_device_/job:localhost/device:CPU:0}} Error in user-defined function "
    "passed to MapDataset:6 transformation with iterator: Iterator::Root::ParallelMapV2: jpeg::Uncompress failed. "
    "Invalid JPEG data or crop window.\n\t [[{{node DecodeJpeg}}]] [Op:IteratorGetNext] name: "
)
TWO = """Graph execution error:

2 root error(s) found.
  (0) RESOURCE_EXHAUSTED:  OOM when allocating tensor with shape[9,9]
\t [[{{node a}}]]
  (1) CANCELLED:  Function was cancelled
0 successful operations."""
EAGER = """in user code:

    File "/x/images.py", line 91, in decoder  *
        return fit(one)

    InvalidArgumentError: {{function_node __wrapped__X}} Invalid JPEG data, size 5 [Op:X] name: """


class _Op(Exception):
    """An error as TensorFlow's, which would take 6 s to import."""


_Op.__module__ = "tensorflow.python.framework.errors_impl"


@pytest.mark.parametrize(
    "text, said",
    [
        (GRAPH, "Invalid PNG data, size 37817"),
        (DATASET, "jpeg::Uncompress failed. Invalid JPEG data or crop window."),
        (TWO, "OOM when allocating tensor with shape[9,9]"),
        (EAGER, "Invalid JPEG data, size 5"),
        ("Expected float32, got 'a' of type 'str'", "Expected float32, got 'a' of type 'str'"),
        ("Graph execution error:\n", "Graph execution error:"),
        ("", ""),
    ],
)
def test_tensorflows_sentence_without_its_stack(text, said):
    assert in_short(_Op(text)) == said
    assert in_short(ValueError(text)) == text


@pytest.mark.parametrize(
    "name, shown",
    [
        ("/models/" + "n" * 40 + "/7/saved_model.pb", True),
        ("model's/Zoë/" + "n" * 40, True),
        ("7", True),
        ("n" * 41 + "\n", False),
        ("n" * 41 + "\N{ZERO WIDTH SPACE}", False),
    ],
)
def test_a_files_name_in_bytes_is_shown_as_a_name(name, shown):
    said = in_short(OSError(f"Cannot parse file {name.encode()}: Error parsing message."))
    assert said == f"Cannot parse file {name if shown else repr(b'')[:-1] + '…' + chr(39)}: Error parsing message."


@pytest.mark.parametrize("content", [b"\xff\xd8\xff" + b"j" * 40, b"/" + b"p" * 4096])
def test_what_no_name_can_be_is_cut_behind_that_word_too(content):
    assert in_short(OSError(f"no such file {content!r}")) == "no such file b'…'"


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e999", "true", '"1"', "[1]", "null", "1" + "0" * 400]
)
def test_no_number(text):
    assert not is_number(json.loads(text))
    assert not is_number(json.loads(text), int)


def test_numbers():
    assert is_number(1) and is_number(0.5) and is_number(3, int) and not is_number(3.0, int)


def test_bytes_of_a_file_are_never_shown_and_short_ones_are():
    error = ValueError(f"Not a valid TFRecord. Fewer than 7461 bytes: {bytes(range(256)) * 30!r}, in a shard")
    assert in_short(error) == "Not a valid TFRecord. Fewer than 7461 bytes: b'…', in a shard"
    assert without_bytes(f"{b'JPEG' * 20!r}"[:60]) == "b'…'"  # cut before
    assert without_bytes(f"{bytes(40)!r} ab'{'x' * 50}'") == f"{bytes(40)!r} ab'{'x' * 50}'"


def test_a_librarys_essay_is_cut():
    assert len(in_short(ValueError("x" * 15_000))) == 2001
