"""Loading models."""

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from arcface_common.arguments import PATH, checked
from arcface_common.console import noise_to
from arcface_tfx.tensorflow_import import set_environment

if TYPE_CHECKING:
    from serving.local import LocalModel


@checked(path=PATH)
def load(path: str | os.PathLike[str]) -> "LocalModel":
    """Loads a model that this project trained or imported.

    >>> model = load("model")
    >>> model.metadata.embedding_dim
    16

    Args:
      path: a pushed version, the folder of versions, of which the latest is taken, or an import's folder.

    Returns:
      The model, with `embed`, `embed_iter`, `verify` and `threshold`.

    Raises:
      DataError: no such folder, or something else in it.
    """
    set_environment()
    from serving.local import LocalModel

    with contextlib.nullcontext() if "tensorflow" in sys.modules else noise_to(os.devnull):
        return LocalModel(path)
