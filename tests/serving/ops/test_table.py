import copy
import pathlib

import pytest
import tensorflow as tf

from arcface_common.errors import DataError
from serving.ops import table
from serving.ops.read_wheel import read_libraries


def _save(folder, function):
    module = tf.Module()
    module.function = tf.function(function, input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, str(folder), signatures=module.function)
    return str(folder)


@pytest.fixture
def fewer(monkeypatch):
    """Changes the table as an older server's would be."""
    ops = copy.deepcopy(table.read_table())
    monkeypatch.setattr(table, "read_table", lambda: ops)
    return ops


def test_the_table_is_that_of_the_version_it_is_called_by():
    ops = table.read_table()
    assert len(ops) > 1000
    assert ops["DecodeJpeg"].keys() >= {"channels", "dct_method"}
    assert "DT_FLOAT" in ops["Conv2D"]["T"] and "DT_STRING" not in ops["Conv2D"]["T"]
    assert "TPUReplicate" not in ops  # no kernel for a CPU


@pytest.mark.slow
def test_the_script_reads_the_tensorflow_that_is_installed():
    """Of which the table's own version differs by little: a reader that went wrong would find other types."""
    found = read_libraries(pathlib.Path(tf.__file__).parent.parent)
    expected = table.read_table()
    assert len(found.keys() & expected.keys()) > 0.95 * len(expected)
    for name in ("Conv2D", "MatMul", "SegmentMean", "IgnoreErrorsDataset", "DecodeJpeg", "GatherV2"):
        assert found[name] == expected[name]


def test_a_model_of_known_ops_passes(model_dir):
    table.check_ops(model_dir)


def test_an_op_that_the_server_lacks_is_named_wherever_it_is(tmp_path, fewer):
    path = _save(tmp_path, lambda x: {"y": tf.map_fn(lambda v: tf.math.lgamma(v), x)})
    table.check_ops(path)
    del fewer["Lgamma"]
    with pytest.raises(DataError, match=r"ops that TF Serving 2\.20\.0 has.* Received: op Lgamma in "):
        table.check_ops(path)


def test_an_attribute_that_the_server_lacks_is_named(tmp_path, fewer):
    path = _save(tmp_path, lambda x: {"y": tf.linalg.matmul(x[None], x[:, None], transpose_a=False, transpose_b=True)})
    table.check_ops(path)
    del fewer["MatMul"]["transpose_b"]
    with pytest.raises(DataError, match="Received: MatMul's attribute transpose_b in "):
        table.check_ops(path)


def test_a_type_that_no_kernel_takes_is_named(tmp_path, fewer):
    path = _save(tmp_path, lambda x: {"y": tf.math.erf(tf.cast(x, tf.float64))})
    table.check_ops(path)
    fewer["Erf"]["T"].remove("DT_DOUBLE")
    with pytest.raises(DataError, match="Received: Erf with T=DT_DOUBLE in "):
        table.check_ops(path)


def test_a_word_that_the_server_lacks_is_named(tmp_path, fewer):
    def padded(x):
        image = tf.reshape(x, (1, 4, 4, 1))
        return {"y": tf.nn.conv2d(image, tf.ones((3, 3, 1, 1)), 1, [(0, 0), (1, 1), (1, 1), (0, 0)])}

    path = _save(tmp_path, padded)
    fewer["Conv2D"]["padding"].remove("EXPLICIT")
    with pytest.raises(DataError, match="Received: Conv2D with padding=EXPLICIT in "):
        table.check_ops(path)
