"""Builds one backbone to see whether it can be: `python -m trainer_module.backbones.tryout`, a process of its own.

Standard input is JSON, {"name": ..., "options": {...}}; the last line of standard output is {"parameters": ...} or
{"error": ...}. One of ours is built as a graph, whose variables take no memory, however wide it is. A user's own may
look into its values as it is made, which a graph has none of.
"""

import contextlib
import json
import os
import sys
from typing import Any

from arcface_common.processes import die_with_parent


def main() -> None:
    """Reads, builds, answers; on the CPU, since GPUs are the training's."""
    die_with_parent()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a user's own module prints as it is imported is no answer
    asked = json.load(sys.stdin)
    json.dump(_tried(asked["name"], asked["options"]), answer)
    answer.close()


def _tried(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """How many parameters a backbone has, or why it can't be built."""
    import numpy as np
    import tensorflow as tf

    from arcface_common.errors import in_short
    from trainer_module import backbones

    try:
        with contextlib.nullcontext() if ":" in name else tf.Graph().as_default():
            model = backbones.build(name, **options)
            return {"parameters": sum(int(np.prod(weight.shape)) for weight in model.weights)}
    except (KeyboardInterrupt, Exception) as error:  # whatever a user's own code raises
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return {"error": f"{kind}{in_short(error)}"}


if __name__ == "__main__":
    main()
