"""Imports what arcface_torch exports (`torch2onnx.py`) and InsightFace's model zoo publishes (w600k_r50, w600k_mbf)."""

import os
from pathlib import Path

from arcface_common.features import PixelFormat
from trainer_module.weights.onnx_graph import read_graph
from trainer_module.weights.structure import Imported, import_graph

# arcface_torch normalises outside the network: RGB, to [-1, 1].
ARCFACE_TORCH_PIXELS = PixelFormat(colour="rgb", mean=127.5, scale=127.5)


def import_onnx(
    path: str | os.PathLike[str], *, output: str | None = None, pixel_format: PixelFormat | None = None
) -> Imported:
    """Reads an ONNX file into the backbone that it describes.

    The network is recognised by its structure: iresnet18/34/50/100 and MobileFaceNet (mbf and y1), with batch norms
    as they were trained or folded into the convolutions before them by the exporter.

    Args:
      path: the file; external data is read from beside it.
      output: name of the tensor that holds the embedding; the file's only output if None.
      pixel_format: overrides `(x - 127.5) / 127.5`, RGB, which is assumed where the graph normalises nothing itself.
        Where it begins with Sub, Mul, Div or Add of numbers, those say it.

    Returns:
      The backbone, with everything that an export needs to know.

    Raises:
      WeightImportError: another format, an unknown network or operator, an array left over, missing or of another
        shape; the message names it.
      OSError: the file cannot be read.
    """
    graph = read_graph(path, output=output)
    found = graph.affine.pixel_format() if graph.affine.seen else ARCFACE_TORCH_PIXELS
    return import_graph(graph, pixel_format or found, f"ONNX {Path(path).name}")
