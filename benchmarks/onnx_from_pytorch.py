"""How far an imported network's embeddings are from PyTorch's own, for an IR-50 that PyTorch itself exports.

Run it from the repository's root, once, with an interpreter that has PyTorch, in an environment of its own
(`pip install torch==2.13.0 onnx onnxscript`): `python -m benchmarks.onnx_from_pytorch PYTORCH_PYTHON`. That one builds
arcface_torch's structure with random weights and moving statistics and exports it in three ways; this one imports the
files. It prints what it writes to `benchmarks/results/onnx_from_pytorch.csv`.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python -m benchmarks.onnx_from_pytorch PYTORCH_PYTHON"
UNITS = (3, 4, 14, 3)
WIDTHS = (64, 128, 256, 512)
IMAGES = 2
# arcface_torch's torch2onnx.py exports the first way; the second keeps batch norms, the third is PyTorch's new default.
EXPORTS: dict[str, dict[str, Any]] = {
    "folded": {"dynamo": False, "opset_version": 11},
    "unfolded": {"dynamo": False, "opset_version": 11, "do_constant_folding": False},
    "dynamo": {"dynamo": True},
}


def network(torch: Any) -> Any:
    """IR-50 as arcface_torch has it: float32 [N, 3, 112, 112] -> [N, 512]."""
    nn = torch.nn

    class Unit(nn.Module):
        """BN, conv, BN, PReLU, conv with the stride, BN; added to the input or its projection."""

        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            self.main = nn.Sequential(
                nn.BatchNorm2d(inputs),
                nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.PReLU(width),
                nn.Conv2d(width, width, 3, stride, 1, bias=False),
                nn.BatchNorm2d(width),
            )
            self.shortcut = nn.Identity()
            if stride > 1:
                self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

        def forward(self, x: Any) -> Any:
            return self.main(x) + self.shortcut(x)

    layers = [nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.PReLU(WIDTHS[0])]
    inputs = WIDTHS[0]
    for count, width in zip(UNITS, WIDTHS, strict=True):
        for unit in range(count):
            layers.append(Unit(inputs, width, 1 if unit else 2))
            inputs = width
    layers += [nn.BatchNorm2d(inputs), nn.Flatten(), nn.Dropout(0.4), nn.Linear(inputs * 49, 512), nn.BatchNorm1d(512)]
    return nn.Sequential(*layers)


def export(folder: Path) -> None:
    """Under PyTorch: writes the exports, and `reference.npz` with images [N, 3, 112, 112] and embeddings [N, 512]."""
    import torch

    torch.manual_seed(0)
    model = network(torch).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_(0, 0.3)
        if isinstance(module, torch.nn.BatchNorm2d):  # the last gamma, BatchNorm1d's, stays at 1
            module.weight.data.uniform_(0.5, 1.5)
        if isinstance(module, torch.nn.PReLU):
            module.weight.data.uniform_(0, 0.5)
    images = torch.empty(IMAGES, 3, 112, 112).uniform_(-1, 1)
    with torch.no_grad():
        np.savez(
            folder / "reference.npz", images=images.numpy(), embedding=model(images).numpy(), torch=torch.__version__
        )
    for name, options in EXPORTS.items():
        if name == "unfolded":
            options = options | {"training": torch.onnx.TrainingMode.PRESERVE}
        torch.onnx.export(model, (images,), str(folder / f"{name}.onnx"), input_names=["data"], **options)


def measure(folder: Path) -> list[tuple[str, float, str]]:
    """Imports each export; returns (figure, value, unit)."""
    from trainer_module.weights.import_onnx import import_onnx

    with np.load(folder / "reference.npz") as reference:
        images, expected, version = reference["images"], reference["embedding"], str(reference["torch"])
    rows = []
    for name in EXPORTS:
        start = time.perf_counter()
        imported = import_onnx(folder / f"{name}.onnx")
        seconds = time.perf_counter() - start
        found = imported.backbone(images.transpose(0, 2, 3, 1), training=False).numpy()
        error = float(abs(found - expected).max() / abs(expected).max())
        what = f"{imported.name} exported by PyTorch {version} ({name})"
        rows.append((f"largest difference to its embeddings, {what}", error, "of the largest value"))
        rows.append((f"import, {what}", seconds, "s"))
    return rows


def main(arguments: list[str]) -> None:
    """Exports under the other interpreter, measures here, writes the table."""
    if arguments[:1] == ["--export"]:
        export(Path(arguments[1]))
        return
    from benchmarks import table  # the other interpreter runs this file by its path, and cannot import it

    if len(arguments) != 1:
        raise SystemExit(f"Expected the interpreter that has PyTorch: {COMMAND}. Received: {arguments}")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([arguments[0], __file__, "--export", folder], check=True)
        rows = measure(Path(folder))
    table.write("onnx_from_pytorch", COMMAND, [(figure, f"{value:.3g}", unit) for figure, value, unit in rows])


if __name__ == "__main__":
    main(sys.argv[1:])
