"""Imports what InsightFace publishes for MXNet: `PREFIX-symbol.json` and `PREFIX-0000.params`."""

import os
from pathlib import Path

from arcface_common.features import PixelFormat
from trainer_module.weights.mxnet_params import read_params
from trainer_module.weights.mxnet_symbol import read_symbol
from trainer_module.weights.structure import Imported, import_graph


def import_mxnet(
    prefix: str | os.PathLike[str],
    epoch: int,
    *,
    output: str | None = None,
    pixel_format: PixelFormat | None = None,
) -> Imported:
    """Reads an MXNet checkpoint into the backbone that it describes.

    The network is recognised by its structure: LResNet18/34/50/100E-IR and MobileFaceNet y1.

    Args:
      prefix: the files' common beginning, as `mx.model.load_checkpoint` takes it.
      epoch: the number in the params file's name, e.g. 0 for `-0000.params`.
      output: name of the node that gives the embedding, e.g. "fc1" in a training checkpoint that goes on to the
        classes; the symbol's own output if None.
      pixel_format: overrides what the symbol says. It says RGB, and as mean and scale what its scalar operators do
        to the image (0 and 1 where it has none: then raw pixels go in).

    Returns:
      The backbone, with everything that an export needs to know.

    Raises:
      WeightImportError: a file of another format, an unknown network or operator, an array left over, missing or of
        another shape; the message names it.
      OSError: a file cannot be read.
    """
    symbol = Path(f"{os.fspath(prefix)}-symbol.json")
    params = Path(f"{os.fspath(prefix)}-{epoch:04d}.params")
    graph = read_symbol(symbol, read_params(params), output=output)
    source = f"MXNet {symbol.name}, {params.name}"
    return import_graph(graph, pixel_format or graph.affine.pixel_format(), source)
