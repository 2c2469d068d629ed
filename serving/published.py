"""Models as others publish them: what makes one of ours of them. Needs no TensorFlow."""

import os
import re
import shlex

_PARAMS = re.compile(r"-(\d{4})\.params$")
_SYMBOL = "-symbol.json"
_ONNX = ".onnx"


def how_to_import(path: str) -> str:
    """What an error about a model's path ends in where that is a published model: the command that imports it.

    Args:
      path: a local file or folder; it need not exist.

    Returns:
      "; `arcface-tfx import-onnx w600k_r50.onnx OUT` makes ...", or "" where no such model lies there.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path) or os.curdir
    names = [os.path.basename(path)] if os.path.isfile(path) else _names(path)
    onnx = [name for name in names if name.lower().endswith(_ONNX)]
    if onnx:
        others = f" (or another of {len(onnx)})" if len(onnx) > 1 else ""
        return _advice(f"import-onnx {_below(folder, onnx[0], path)} OUT", others)
    for name in names:
        prefix = name.removesuffix(_SYMBOL) if name.endswith(_SYMBOL) else _PARAMS.sub("", name)
        own = re.compile(re.escape(prefix) + _PARAMS.pattern)
        epochs = [found[1] for other in _names(folder) if (found := own.fullmatch(other))]
        if prefix != name and epochs:
            return _advice(f"import-mxnet {_below(folder, prefix, path)} {int(max(epochs))} OUT")
    return ""


def _advice(command: str, others: str = "") -> str:
    return f"; `arcface-tfx {command}`{others} makes a model's folder of it"


def _below(folder: str, name: str, path: str) -> str:
    """The file's path for a shell, as far as the person wrote it."""
    return shlex.quote(os.path.join(folder if os.path.dirname(path) or os.path.isdir(path) else "", name))


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
