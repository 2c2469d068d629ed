"""Other engines behind the same server: TensorFlow's embeddings and its errors."""

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from arcface_common.artifacts import EXTRA
from arcface_common.features import PixelFormat
from serving.inference.engines import ENGINES
from serving.server import other_engines
from serving.server.errors import ServingError
from serving.server.other_engines import open_servable
from serving.server.servable import Servable
from tests.closeness import assert_close
from tests.helpers import jpeg
from tests.processes import CONTEXT
from tests.serving.server.models import copy
from tests.serving.server.running import running
from tests.serving.server.test_tfs_rest import ask


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request):
    return request.param


@contextlib.contextmanager
def _forks():
    """What takes a model apart is a fork, see `tests.processes`; for the server below Python starts it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(other_engines, "multiprocessing", SimpleNamespace(get_context=lambda _: CONTEXT))
        yield


@pytest.fixture(scope="module")
def opened(engine, model_dir):
    with _forks():
        servable = open_servable(model_dir, engine)
    yield servable
    servable.close()


@pytest.fixture(scope="module")
def by_tensorflow(model_dir):
    servable = Servable(model_dir)
    yield servable
    servable.close()


def _inputs():
    images = np.array([jpeg(1), b"no image", jpeg(2)], object)
    landmarks = np.tile(np.float32([[38, 52], [73, 52], [56, 72], [41, 92], [70, 92]]), (3, 1, 1))
    return {
        "serving_default": {"image_bytes": images},
        "embed_pixels": {"pixels": np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)},
        "align_and_embed": {"image_bytes": images, "landmarks": landmarks},
        "similarity": {"image_a_bytes": images, "image_b_bytes": images[::-1].copy()},
        "verification": {"image_bytes": images},
    }


@pytest.mark.parametrize("name", sorted(_inputs()))
def test_every_signature_answers_as_tensorflow_does(opened, by_tensorflow, name):
    inputs = _inputs()[name]
    found, expected = opened.run(name, inputs), by_tensorflow.run(name, inputs)
    assert set(found) == set(expected)
    for key, value in expected.items():
        if value.dtype == bool:
            np.testing.assert_array_equal(found[key], value)
        else:
            assert_close(found[key], value, 1e-4)


def test_clients_see_the_same_signatures(opened, by_tensorflow):
    def seen(servable):
        return {name: (s.inputs, s.outputs) for name, s in servable.signatures.items()}

    assert seen(opened) == seen(by_tensorflow)


def test_a_network_that_gives_other_embeddings_is_not_served(engine, model_dir, metadata, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    dataclasses.replace(metadata, pixel_format=PixelFormat("rgb", scale=127.5)).write(str(tmp_path / "model" / EXTRA))
    with _forks(), pytest.raises(ServingError, match="expected the embeddings recorded at export"):
        open_servable(str(tmp_path / "model"), engine)


def test_a_model_of_somebody_else_is_named(engine, written):
    with _forks(), pytest.raises(ServingError, match=f"{written}: can't be loaded: "):
        open_servable(str(written), engine)


def test_an_absent_package_is_named_at_once(tmp_path):
    code = (
        "import sys; sys.modules['openvino'] = None\n"  # for Python: it isn't there
        f"from pipeline.cli import main; main(['serve', {str(tmp_path)!r}, '--engine', 'openvino'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--engine openvino: expected the package openvino" in done.stderr
    assert "starting" not in done.stderr


@pytest.mark.slow
def test_a_server_takes_over_a_new_version_and_keeps_nothing_of_the_old_one(engine, model_dir, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    shutil.copytree(model_dir, folder / "1")
    body = json.dumps({"signature_name": "embed_pixels", "instances": np.zeros((2, 112, 112, 3), int).tolist()})
    with running(folder, engine=engine) as server:
        before = ask(server.rest, "POST", "/v1/models/m:predict", body)
        graph = weakref.ref(server.server.core.manager.versions[1].servable._session.graph)
        copy(folder / "1", 2)
        server.look()
        after = ask(server.rest, "POST", "/v1/models/m:predict", body)
        versions = ask(server.rest, "GET", "/v1/models/m")[2]["model_version_status"]
        deadline = time.monotonic() + 30
        while graph() is not None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert graph() is None
    assert (before[0], after[0]) == (200, 200)
    assert after[2] == before[2]
    assert versions[0]["version"] == "2"
