"""TensorFlow's C library against TensorFlow's Python, on the same SavedModel."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from arcface_common.errors import DataError
from serving.graph_session import _CONFIG, GraphSession
from tests.helpers import jpeg


@pytest.fixture(scope="module")
def session(model_dir):
    return GraphSession(model_dir)


def test_its_settings_are_those_of_tensorflow():
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    assert config.SerializeToString() == _CONFIG


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("name", ["serving_default", "verification"])
def test_it_gives_what_python_gives(session, model_dir, name, count):
    images = [jpeg(seed) for seed in range(count)]
    if count > 1:
        images[1:3] = [b"", b"a string that is too long to lie in a TF_TString itself"]
    found = session.run(name, {"image_bytes": images})
    expected = tf.saved_model.load(model_dir).signatures[name](tf.constant(images, tf.string, [count]))
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype.as_numpy_dtype
        np.testing.assert_array_equal(found[key], value)


def test_two_inputs_go_to_their_places(session):
    images = [jpeg(1), jpeg(2)]
    found = session.run("similarity", {"image_b_bytes": images, "image_a_bytes": [images[0]] * 2})
    assert found["cosine"][0] == pytest.approx(1.0, abs=1e-6)
    assert found["cosine"][1] < 0.999
    with pytest.raises(DataError, match="expected inputs that it takes. Received: .*as many images in one"):
        session.run("similarity", {"image_a_bytes": images, "image_b_bytes": images[:1]})


def test_a_broken_model_is_named(model_dir, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(DataError, match=f"{tmp_path}: expected a whole SavedModel. Received: "):
        GraphSession(str(tmp_path))


def test_a_local_model_imports_no_tensorflow_and_both_live_in_one_process(model_dir, tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    code = (
        "import sys\n"
        "from serving.local import LocalModel\n"
        f"model = LocalModel({model_dir!r})\n"
        f"norm = model.embed({str(tmp_path / 'a.jpg')!r}).norms[0]\n"
        f"assert model.verify({str(tmp_path / 'a.jpg')!r}, {str(tmp_path / 'a.jpg')!r}, 0.5).same\n"
        "assert not {'tensorflow', 'scipy', 'sklearn', 'pandas', 'tfx', 'apache_beam'} & set(sys.modules)\n"
        "import tensorflow as tf\n"
        f"images = tf.constant([open({str(tmp_path / 'a.jpg')!r}, 'rb').read()])\n"
        "assert model.loaded.signatures['serving_default'](images)['norm'].numpy()[0] == norm\n"
        f"assert model.embed({str(tmp_path / 'a.jpg')!r}).norms[0] == norm\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
