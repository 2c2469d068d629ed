"""MXNet's `.params` files: all versions and dtypes read, every truncation and spoiled byte refused or survived."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.trainer_module.weights.mxnet_files import DTYPES, write_params
from trainer_module.weights.graph import WeightImportError
from trainer_module.weights.mxnet_params import read_params


@pytest.mark.parametrize("version", [0, 1, 2, 3])
@settings(max_examples=25, deadline=None)
@given(
    arrays=st.dictionaries(
        st.text(max_size=8),
        st.sampled_from(list(DTYPES)).flatmap(
            lambda name: (
                hnp.arrays(name, hnp.array_shapes(max_dims=5, max_side=4), elements={"allow_nan": False})
                if name.startswith("float")
                else hnp.arrays(name, hnp.array_shapes(max_dims=5, max_side=4))
            )
        ),
        max_size=5,
    )
)
def test_params_of_every_version(tmp_path_factory, version, arrays):
    path = tmp_path_factory.mktemp("params") / "x.params"
    write_params(path, arrays, version)
    found = read_params(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def example_file(path: Path) -> bytes:
    write_params(path, {"arg:a": np.arange(6, dtype=np.float32).reshape(2, 3), "aux:b": np.ones(4, np.int8)}, 2)
    return path.read_bytes()


def test_every_truncation_is_an_error(tmp_path):
    path = tmp_path / "x.params"
    data = example_file(path)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(WeightImportError, match=r"x\.params: .*byte \d+: expected .*Received: "):
            read_params(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(WeightImportError, match="nothing after the names. Received: 1 more bytes"):
        read_params(path)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_spoiled_byte_is_read_or_refused(tmp_path_factory, position, value):
    path = tmp_path_factory.mktemp("params") / "x.params"
    data = bytearray(example_file(path))
    data[position % len(data)] = value
    path.write_bytes(data)
    try:
        assert len(read_params(path)) == 2
    except WeightImportError:
        pass


@pytest.mark.parametrize(
    ("at", "layout", "value", "message"),
    [
        (0, "<Q", 0x113, "header, byte 16: expected a list of arrays.*Received: 0x113"),
        (24 + 4, "<i", 1, r"array 0 of 2, byte 32: expected a dense array.*Received: storage type 1"),
        (24 + 12, "<q", -2, r"array 0 of 2.*sizes above 0. Received: \(-2, 3\)"),
        (24 + 12, "<q", 2**40, r"array 0 of 2.*of data \(float32 \[1099511627776, 3\]\)"),
        (24 + 36, "<i", 12, "array 0 of 2.*dtype code.*Received: 12"),
    ],
)
def test_spoiled_headers_say_where(tmp_path, at, layout, value, message):
    path = tmp_path / "x.params"
    data = bytearray(example_file(path))
    struct.pack_into(layout, data, at, value)
    path.write_bytes(data)
    with pytest.raises(WeightImportError, match=message):
        read_params(path)


def test_names_are_needed_and_unique(tmp_path):
    path = tmp_path / "x.params"
    data = example_file(path)
    path.write_bytes(data.replace(b"aux:b", b"arg:a"))
    with pytest.raises(WeightImportError, match="name 1 of 2.*a new name. Received: 'arg:a'"):
        read_params(path)
    path.write_bytes(data.replace(b"aux:b", b"aux:\xff"))
    with pytest.raises(WeightImportError, match="name 1 of 2.*UTF-8"):
        read_params(path)
    names = data.rindex(struct.pack("<Q", 2))
    path.write_bytes(data[:names] + struct.pack("<Q", 0))
    with pytest.raises(WeightImportError, match="a name for each of 2 arrays. Received: 0 names"):
        read_params(path)
