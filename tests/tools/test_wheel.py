"""The wheel: it holds every file of the packages, and the command runs from it where the working tree is not."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("arcface_tfx", "pipeline", "components", "arcface_common", "trainer_module", "evaluator_custom", "serving")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of what git knows or would take: building writes into the tree."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    names = (*PACKAGES, "pyproject.toml", "README.md", "LICENSE")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *names]
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    files = [name for name in files if (ROOT / name).is_file()]
    for name in files:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes((ROOT / name).read_bytes())
    uv = [ROOT / ".venv-tools" / "bin" / "uv", "build", "--wheel", "--offline", "--no-build-isolation"]
    subprocess.run([*uv, "--python", sys.executable, "--out-dir", out, tree], check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made, [name for name in files if name.startswith(PACKAGES)]


def test_it_holds_every_file_of_the_packages_and_no_other(wheel):
    with zipfile.ZipFile(wheel[0]) as archive:
        held = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert sorted(held) == sorted(wheel[1])


def test_the_command_makes_data_from_the_wheel_alone(wheel, tmp_path):
    with zipfile.ZipFile(wheel[0]) as archive:
        archive.extractall(tmp_path / "installed")
    # What is installed editable finds the working tree by a hook of site-packages: `find` says whose code ran.
    find = "import sys; sys.path.insert(0, sys.argv.pop(1)); import pipeline.cli; print(pipeline.cli.__file__)"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    for arguments in (["presets"], ["synth", "faces", "--identities", "3", "--images", "4", "--pairs", "40"]):
        call = [sys.executable, "-c", f"{find}; pipeline.cli.main()", str(tmp_path / "installed"), *arguments]
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(str(tmp_path / "installed"))
    assert (tmp_path / "faces" / "train.rec").stat().st_size > 1000
