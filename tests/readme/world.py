"""The files that README.md and docs/ speak of as the reader's own, made small: data sets, faces, networks."""

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import onnx

from tests.helpers import ROOT, jpeg
from tests.trainer_module.weights.onnx_networks import mobilefacenet

_MXNET_NETWORKS = ROOT / "tests" / "trainer_module" / "weights" / "mxnet_networks.py"
_IDENTITIES = [f"person{i}" for i in range(6)]
_IMAGES = 4


def make_world(root: Path) -> None:
    """Writes them where the pages' commands, run in `root`, look for them; the demo's data must be there already.

    Args:
      root: a checkout in which `make demo` has run.

    Raises:
      subprocess.CalledProcessError: MXNet wrote no network.
    """
    for name in ("ms1m", "lfw"):
        shutil.copytree(root / "build" / "demo" / "data", root / "faces" / name)
    for number, identity in enumerate(_IDENTITIES):
        for image in range(_IMAGES):
            content = jpeg(100 * number + image)
            for folder in ("aligned", f"faces/{'known' if image == 0 else 'door'}"):
                if folder == "faces/known" and number == 0:
                    continue  # one who comes to the door is unknown
                path = root / folder / identity / f"{identity}_{image + 1:04d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    # The pages' photos: a procedural face is one to MTCNN, too.
    shutil.copytree(root / "build" / "demo" / "faces", root / "photos")
    (root / "pairs.txt").write_text("".join(_pairs()))

    network = mobilefacenet(True, blocks=(1, 1, 1, 1), scale=1, dim=64)
    (root / "models" / "y1").mkdir(parents=True)
    onnx.save(network, root / "models" / "w600k_r50.onnx")
    onnx.save(network, root / "w600k_r50.onnx")
    command = [str(ROOT / ".venv-mxnet" / "bin" / "python"), str(_MXNET_NETWORKS), "mobilefacenet"]
    environment = os.environ | {"MXNET_SUBGRAPH_BACKEND": "NONE"}
    subprocess.run([*command, str(root / "models" / "y1" / "model")], env=environment, check=True, capture_output=True)


def _pairs() -> list[str]:
    """36 lines for `convert --pairs`, a pair of one person and a pair of two in turn."""

    def path(identity: str, image: int) -> str:
        return f"{identity}/{identity}_{image:04d}.jpg"

    numbers = range(1, _IMAGES + 1)
    same = [(path(i, a), path(i, b)) for i in _IDENTITIES for a, b in itertools.combinations(numbers, 2)]
    different = [(path(a, i), path(b, i)) for a, b in itertools.combinations(_IDENTITIES, 2) for i in numbers]
    return [
        line
        for one, two in zip(same, different, strict=False)
        for line in (f"{one[0]} {one[1]} 1\n", f"{two[0]} {two[1]} 0\n")
    ]
