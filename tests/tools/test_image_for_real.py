"""The images' files, built by the Dockerfile's own steps without an engine, and what runs in them.

They are some 6 GB and take minutes, so that `make image-test` alone builds them. Each command runs as a number without
a name, on a read-only root: what isn't /work can't be written.
"""

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.services import running, wait_until

pytestmark = pytest.mark.slow
GPU = "ARCFACE_TFX_IMAGES_GPU"  # set: the image with the CUDA libraries, too
_CUDA = """
import ctypes, glob, nvidia
import tensorflow as tf
places = ("cuda_runtime/lib/libcudart.so.*", "cudnn/lib/libcudnn.so.*")
for place in places:
    (library,) = glob.glob(f"{nvidia.__path__[0]}/{place}")
    ctypes.CDLL(library)
print(tf.reduce_sum(tf.ones([3, 4])).numpy())
"""


@pytest.fixture(scope="module")
def images():
    """The folder that they are built in; what is written at /work lies in its `work`."""
    named = os.environ.get("ARCFACE_TFX_IMAGES")
    if not named:
        pytest.skip("the images' files: `make image-test` builds them")
    folder = Path(named).resolve()
    shutil.rmtree(folder / "work", ignore_errors=True)
    (folder / "work").mkdir(parents=True)
    (folder / "work").chmod(0o777)
    targets = ("pipeline", "serve", *(["pipeline-gpu"] if os.environ.get(GPU) else []))
    subprocess.run([sys.executable, "-m", "tools.image", "build", folder, *targets], cwd=ROOT, check=True)
    for target in targets:
        packages = subprocess.run(["du", "-sm", folder / target / "opt"], check=True, capture_output=True, text=True)
        print(f"{target}: packages of {packages.stdout.split()[0]} MB")
    return folder


def command(images, target, *words):
    begin = [sys.executable, "-m", "tools.image", "run", "--user", "12345", "--writable", str(images / "work")]
    return [*begin, str(images / target), *words]


def run(images, target, *words):
    return subprocess.run(command(images, target, *words), cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_root_is_read_only_and_the_user_a_number(images):
    said = run(images, "pipeline", "sh", "-c", "id -u; touch /opt/x /tmp/x; touch /work/x && echo written; whoami")
    assert said.stdout.split() == ["12345", "written"]
    assert said.stderr.count("Read-only file system") == 2


def test_no_tool_of_the_build_is_left(images):
    said = run(images, "pipeline", "sh", "-c", "ls -d /tools /src /dist; command -v uv gcc; python -m pip --version")
    assert said.stdout == "" and said.stderr.count("No such file or directory") == 3


def test_the_demo_ends_in_a_model_that_the_other_image_serves(images):
    done = run(images, "pipeline", "arcface-tfx", "synth", "data", "--samples", "faces")
    assert done.returncode == 0, done.stderr
    done = run(images, "pipeline", "arcface-tfx", "run", "--preset", "demo", "--data", "data", "--root", "out")
    assert done.returncode == 0 and "\nblessed\n" in done.stdout, done.stdout + done.stderr
    print(done.stdout)

    words = ("arcface-tfx", "serve", "out/serving/arcface", "--port", "28500", "--rest-port", "28501")
    log = images / "serve.log"
    with running(command(images, "serve", *words), log) as server:
        wait_until(_available, server, log)
        face = next((images / "work" / "faces").rglob("*.jpg"))
        for place in ("127.0.0.1:28500", "http://127.0.0.1:28501"):
            done = run(images, "serve", "arcface-tfx", "embed", f"faces/{face.name}", "--server", place)
            assert done.returncode == 0, done.stderr


def _available():
    with urllib.request.urlopen("http://127.0.0.1:28501/v1/models/arcface") as answer:
        return b"AVAILABLE" in answer.read()


def test_the_image_with_cuda_has_its_libraries_and_draws_the_demos_data_without_a_gpu(images):
    if not os.environ.get(GPU):
        pytest.skip("the image with CUDA's libraries: `make image-test GPU=1` builds it")
    done = run(images, "pipeline-gpu", "python", "-c", _CUDA)
    assert done.stdout == "12.0\n", done.stderr
    done = run(images, "pipeline-gpu", "arcface-tfx", "synth", "few", "--identities", "8", "--pairs", "40")
    assert done.returncode == 0, done.stderr
