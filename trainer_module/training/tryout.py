"""Builds one backbone to see whether it can be: `python -m trainer_module.training.tryout`, a process of its own.

Standard input is JSON, {"name": ..., "options": {...}, "init_from": folder or ""}. The last line of standard output is
{"parameters": ...}, {"error": ...} of the network, or {"damage": ...} of the folder that it should begin from. One of
ours alone is built as a graph, whose variables take no memory, however wide it is. A user's own may look into its
values as it is made, which a graph has none of; it and one with a folder also embed two images.
"""

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from arcface_common.errors import DataError
from arcface_common.processes import die_with_parent

if TYPE_CHECKING:
    import tf_keras


def main() -> None:
    """Reads, builds, answers; on the CPU, since GPUs are the training's."""
    die_with_parent()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a user's own module prints as it is imported is no answer
    asked = json.load(sys.stdin)
    json.dump(tried(asked["name"], asked["options"], asked["init_from"]), answer)
    answer.close()


def tried(name: str, options: dict[str, Any], init_from: str = "") -> dict[str, Any]:
    """The answer, see the module.

    Args:
      name: of the backbone.
      options: of `backbones.build`.
      init_from: the folder that it should begin from, or "".
    """
    import numpy as np
    import tensorflow as tf

    from arcface_common.errors import in_short
    from trainer_module import backbones
    from trainer_module.training.start import take_backbone

    with_values = ":" in name or init_from
    try:
        with contextlib.nullcontext() if with_values else tf.Graph().as_default():
            model = backbones.build(name, **options)
            parameters = sum(int(np.prod(weight.shape)) for weight in model.weights)
        if init_from:
            take_backbone(model, init_from)
        if with_values:
            _embed(model, init_from or name)
    except (KeyboardInterrupt, Exception) as error:  # whatever a user's own code raises
        if init_from and isinstance(error, DataError):
            return {"damage": str(error)}
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return {"error": f"{kind}{in_short(error)}"}
    return {"parameters": parameters}


def _embed(model: "tf_keras.Model", whose: str) -> None:
    """Embeds noise.

    Raises:
      DataError: an embedding isn't finite.
    """
    import numpy as np

    images = np.random.default_rng(0).uniform(-1, 1, (2, *model.input_shape[1:])).astype(np.float32)
    if not np.isfinite(np.asarray(model(images, training=False))).all():
        raise DataError(f"{whose}: expected finite embeddings. Received: values that are NaN or infinite, for noise")


if __name__ == "__main__":
    main()
