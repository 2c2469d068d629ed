"""The checkpoint that verification found best, which `train.keep=best` keeps."""

import json
import os
import re

import tensorflow as tf

from arcface_common.console import say
from arcface_common.errors import DataError, in_short
from trainer_module.data.holdout import HOLDOUT_FILE, HoldoutEvaluation, HoldoutResult
from trainer_module.gfile_aside import gfile_aside
from trainer_module.training import checkpoints
from trainer_module.training.background import BackgroundWriter
from trainer_module.training.state import TrainState
from trainer_module.training.verification import VERIFIED_FILE, Results, mean_accuracy, write_verified
from trainer_module.workers.distribution import agreed

_NAME = re.compile(r"best-(\d+)/?")


class BestCheckpoint:
    """The checkpoint of the highest mean accuracy so far, of equal ones the latest, in a folder "best-<step>"."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        writer: BackgroundWriter,
        folder: str,
        holdout: HoldoutEvaluation | None = None,
        *,
        is_chief: bool,
    ) -> None:
        """Finds what an earlier process of this training kept.

        Args:
          strategy: what the variables were made under.
          writer: writes checkpoints.
          folder: of the training: its own, or else that of its results.
          holdout: judges what is kept by the hold-out split, if there is one.
          is_chief: whether this process's copy is kept.
        """
        self._strategy, self._writer, self._folder, self._is_chief = strategy, writer, folder, is_chief
        self._holdout = holdout
        self._accuracy = -1.0
        for kept in self._kept() if is_chief else []:
            try:
                with tf.io.gfile.GFile(os.path.join(kept, VERIFIED_FILE)) as file:
                    accuracy = float(json.load(file)["accuracy"])
                checkpoints.check_whole(kept)
            except (OSError, ValueError, TypeError, KeyError, tf.errors.OpError) as error:
                figures = f"{os.path.join(kept, VERIFIED_FILE)}: expected the figures of the best checkpoint"
                reason = error if isinstance(error, DataError) else f"{figures}. Received: {in_short(error)}"
                say(f"WARNING {reason}; the best starts anew")
                tf.io.gfile.rmtree(kept)
            else:
                self._accuracy = max(self._accuracy, accuracy)

    def offer(self, step: int, state: TrainState, results: Results | None) -> None:
        """Keeps the state if it is the best so far. All workers call this.

        Args:
          step: optimizer steps that were done.
          state: of the training.
          results: of the verification, by set; None in workers other than the chief.
        """
        accuracy = mean_accuracy(results or {})
        better = accuracy is not None and accuracy >= self._accuracy
        if not agreed(self._strategy, better):
            return
        if better:
            self._accuracy = accuracy or 0.0
        held_out = self._holdout.evaluate(step, show=self._is_chief) if self._holdout else None
        self._writer.write(state, lambda copy: self._save(copy, step, results or {}, held_out))

    def hand_over(self, run_dir: str) -> bool:
        """Copies the best checkpoint and its figures to the results of the training; False where there is none.

        It stays until the training's folder goes: a process that is killed now takes its last step again.
        """
        self._writer.wait()
        kept = self._kept()
        if not kept:
            return False
        with gfile_aside(os.path.dirname(checkpoints.path_in(run_dir))) as folder:
            tf.io.gfile.makedirs(folder)
            source = os.path.dirname(checkpoints.path_in(kept[-1]))
            for name in tf.io.gfile.listdir(source):
                tf.io.gfile.copy(os.path.join(source, name), os.path.join(folder, name))
        for name in (VERIFIED_FILE, *([HOLDOUT_FILE] if self._holdout else [])):
            tf.io.gfile.copy(os.path.join(kept[-1], name), os.path.join(run_dir, name), overwrite=True)
        say(f"  kept is {os.path.basename(kept[-1])}, the best of all verified: mean accuracy {self._accuracy:.4f}")
        if self._folder == run_dir:
            for folder in kept:
                tf.io.gfile.rmtree(folder)
        return True

    def _save(self, copy: TrainState, step: int, results: Results, held_out: HoldoutResult | None) -> None:
        """Writes a checkpoint aside, gives it its name, and removes those before."""
        path = os.path.join(self._folder, f"best-{step}")
        with checkpoints.named_in_errors(path), gfile_aside(path) as aside:
            tf.io.gfile.makedirs(aside)
            checkpoints.write(copy.checkpoint(), aside, is_chief=True)
            write_verified(results, step, aside)
            if held_out:
                held_out.write(aside)
        for old in self._kept():
            if old != path:
                tf.io.gfile.rmtree(old)

    def _kept(self) -> list[str]:
        """Folders of best checkpoints, in the order of their steps: one, or two where a kill came between."""
        names = tf.io.gfile.listdir(self._folder) if tf.io.gfile.isdir(self._folder) else []
        steps = sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))
        return [os.path.join(self._folder, f"best-{step}") for step in steps]
