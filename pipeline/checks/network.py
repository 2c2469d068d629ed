"""Whether a backbone can be built as the settings say, tried before ingest; TensorFlow is loaded in another process."""

import json
import os
import re
import signal
import subprocess
import sys

from arcface_common.console import waiting
from arcface_common.errors import DataError
from arcface_common.gpus import find_gpus
from pipeline.checks.memory import available
from trainer_module.settings import TrainSettings

_OF_TENSORFLOW = re.compile(r"[IWE]\d{4} |WARNING: All log messages|To enable the following instructions: ")
_COPIES = 6  # of the weights in a training step on a CPU: gradients, momentum, what their updates take
_COPIES_BESIDE_GPU = 2  # the copy for checkpoints, weights and momentum


def check_network(settings: TrainSettings) -> None:
    """Builds a backbone that is a user's own, has options, or begins from a folder; ours alone is known to be whole.

    Args:
      settings: checked by `backbone.check_backbone`.

    Raises:
      DataError: it can't be built, the folder's checkpoint isn't whole or of another one, or memory doesn't hold its
        weights.
    """
    own = ":" in settings.backbone
    if not (own or settings.backbone_options or settings.init_from):
        return
    named = "train.backbone" if own else "train.backbone_options"
    with waiting(f"trying {settings.backbone}"):
        parameters = _parameters(settings, named)
    needed = 4 * parameters * (_COPIES_BESIDE_GPU if find_gpus().usable else _COPIES)
    here = available()
    if settings.check_memory and settings.steps and needed > here.bytes:
        raise DataError(
            f"{named}: expected about {needed / 1e9:.1f} GB for {parameters:,} parameters. "
            f"Received: {here.bytes / 1e9:.1f} GB left of {here.limit}"
        )


def _parameters(settings: TrainSettings, named: str) -> int:
    """How many values the network has.

    Raises:
      DataError: it can't be built, or not begin from the folder.
    """
    asked = {"name": settings.backbone, "options": settings.build_options(), "init_from": settings.init_from}
    done = subprocess.run(
        # The same modules as here, whatever lies in the working directory (-P).
        [sys.executable, "-P", "-m", "trainer_module.training.tryout"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        # What TensorFlow writes by itself is no reason.
        said = [line for line in done.stderr.splitlines() if line.strip() and not _OF_TENSORFLOW.match(line)]
        killed = done.returncode < 0
        how = f"by {signal.Signals(-done.returncode).name}" if killed else f"with code {done.returncode}"
        answer = {"error": f"a process that ended {how}{f': {said[-1]}' if said else ''}"}
    if "damage" in answer:
        raise DataError(answer["damage"])
    if "error" in answer:
        expected = f"options that {settings.backbone} can be built with"
        if ":" in settings.backbone:
            expected = f"{settings.backbone} to give a network"
        raise DataError(f"{named}: expected {expected}. Received: {answer['error']}")
    return int(answer["parameters"])
