"""Which settings of a training go together. `settings` has the fields."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from arcface_common.errors import did_you_mean, is_number
from arcface_common.setting import refuse_unused, require
from trainer_module.augmentation_facts import AUGMENTATIONS
from trainer_module.loss_facts import LOSSES

if TYPE_CHECKING:
    from trainer_module.settings import TrainSettings

# Settings that one schedule alone reads.
_OF_SCHEDULE = {"milestones": "step", "decay_factor": "step", "power": "polynomial"}
_NOT_OF_LOSS = {
    "normface": ("margin", "margin_warmup_steps"),
    "softmax": ("margin", "margin_warmup_steps", "scale", "ignored_from"),
}


def check_together(settings: "TrainSettings") -> None:
    """Checks what no field can check for itself.

    Raises:
      ConfigError: settings that can't go together, or one that would be ignored.
    """
    refuse_unused(_unused(settings))
    require(settings, "steps", settings.steps > 0 or bool(settings.init_from), "positive, or train.init_from be given")
    for name in ("warmup_steps", "margin_warmup_steps", "freeze_steps") if settings.steps else ():
        require(settings, name, getattr(settings, name) <= settings.steps, f"at most train.steps={settings.steps}")
    for name, value in settings.augment.items():
        known = f"augmentations: {', '.join(AUGMENTATIONS)}{did_you_mean(name, AUGMENTATIONS)}"
        require(settings, "augment", name in AUGMENTATIONS, known)
        require(settings, "augment", is_number(value) and 0 <= value <= 1, f"a number of 0 to 1 at {name}")
    _check_loss(settings)
    _check_schedule(settings)
    # Adam's moments would have to be updated by rows, too.
    by_rows = settings.sample_rate == 1.0 or settings.optimizer == "sgd"
    require(settings, "sample_rate", by_rows, "1 unless train.optimizer=sgd")
    mirrored = settings.strategy == "mirrored" or not settings.shard_centres
    require(settings, "shard_centres", mirrored, "false with train.strategy=central")  # which keeps them in one place
    # A step of the centres alone has no gradient that replicas sum, by which they agree on its norm.
    moves = not (settings.shard_centres and settings.freeze_steps)
    require(settings, "shard_centres", moves, f"false with train.freeze_steps={settings.freeze_steps}")
    require(settings, "verify_sets", len(set(settings.verify_sets)) == len(settings.verify_sets), "different names")
    if not settings.verify_every:
        require(settings, "keep", settings.keep == "last", "last with train.verify_every=0, which finds no best")
    _check_parts(settings)
    if settings.precision == "mixed_float16":  # neither is in what scales the loss
        others = "float32 or mixed_bfloat16 with train"
        require(settings, "precision", settings.strategy != "central", f"{others}.strategy=central")
        require(settings, "precision", settings.sample_rate == 1.0, f"{others}.sample_rate below 1")


def _unused(settings: "TrainSettings") -> Iterator[tuple["TrainSettings", str, str]]:
    """The settings that are ignored, and why."""
    alone = ("join_cluster", "start_timeout_s", "stall_timeout_s", "restarts")
    each_draws = settings.workers > 1 and not settings.shard_centres
    of_others = tuple(name for name, schedule in _OF_SCHEDULE.items() if settings.schedule != schedule)
    for why, ignores, names in (
        ("without train.init_from", not settings.init_from, ("init_centres", "frozen_statistics", "freeze_steps")),
        (f"with train.loss={settings.loss}", True, _NOT_OF_LOSS.get(settings.loss, ())),
        (f"with train.schedule={settings.schedule}", True, of_others),
        ("with train.optimizer=adamw", settings.optimizer == "adamw", ("momentum", "l2_decay")),
        ("with train.weight_decay=0", not settings.weight_decay, ("l2_decay",)),
        ("with train.workers=1", settings.workers == 1, alone),
        (f"with train.workers={settings.workers}", settings.workers > 1, ("strategy",)),
        (f"with train.workers={settings.workers} and train.shard_centres=false", each_draws, ("sample_rate",)),
        ("with train.join_cluster=true", settings.join_cluster, ("restarts",)),
        ("with train.verify_every=0", not settings.verify_every, ("verify_sets",)),
    ):
        if ignores:
            yield from ((settings, name, why) for name in names)


def _check_schedule(settings: "TrainSettings") -> None:
    if settings.schedule == "step" and settings.steps:
        falls = settings.milestones
        ascending = bool(falls) and list(falls) == sorted({settings.warmup_steps, *falls, settings.steps})[1:-1]
        between = f"train.warmup_steps={settings.warmup_steps} and train.steps={settings.steps}"
        require(settings, "milestones", ascending, f"ascending steps between {between}, at least one")


def _check_parts(settings: "TrainSettings") -> None:
    factors = {name: getattr(settings, name) for name in ("workers", "accumulate")}
    named = " x ".join(f"train.{name}={count}" for name, count in factors.items() if count > 1)
    whole = settings.batch_size % math.prod(factors.values()) == 0
    require(settings, "batch_size", whole, f"a multiple of {named}")
    if settings.steps and settings.norm != "group" and ":" not in settings.backbone:
        # One image is its own mean: the last normalization makes 0 of it, and nothing is learned.
        together = "" if settings.norm == "sync_batch" else named
        normalized = settings.batch_size // (math.prod(factors.values()) if together else 1)
        least = f"at least 2{' x ' if together else ''}{together} with train.norm={settings.norm}; group takes 1"
        require(settings, "batch_size", normalized > 1 or settings.frozen_statistics, least)
    refused = {
        # TensorFlow can't reduce over replicas within a loop, nor XLA.
        "train.shard_centres=true": settings.shard_centres,
        "train.norm=sync_batch": settings.norm == "sync_batch",
        f"train.loss={settings.loss} and several workers": settings.workers > 1 and LOSSES[settings.loss].remembers,
        # Each micro-batch would draw classes of its own; XLA wants their number to be the same always.
        "train.sample_rate below 1": settings.sample_rate < 1.0,
    }
    for why, refuses in refused.items():
        require(settings, "accumulate", settings.accumulate == 1 or not refuses, f"1 with {why}")
        require(settings, "jit", not (settings.jit and refuses), f"false with {why}")


def _check_loss(settings: "TrainSettings") -> None:
    facts, given = LOSSES[settings.loss], settings.loss_options
    for name, value in given.items():
        option = facts.options.get(name)
        known = f"options of train.loss={settings.loss}: {', '.join(facts.options) or 'none'}"
        require(settings, "loss_options", option is not None, f"{known}{did_you_mean(name, facts.options)}")
        assert option is not None
        if isinstance(option.default, bool):
            require(settings, "loss_options", isinstance(value, bool), f"true or false at {name}")
        else:
            holds = is_number(value) and option.low <= value <= option.high
            require(settings, "loss_options", holds, f"a number of {option.low:g} to {option.high:g} at {name}")
    if settings.loss == "magface":
        chosen = facts.chosen(given)
        rises = chosen["lower_norm"] < chosen["upper_norm"]
        require(settings, "loss_options", rises, "a lower_norm below the upper_norm")
        margin, lower = settings.full_margin(), chosen["lower_margin"]
        require(settings, "loss_options", lower < margin, f"a lower_margin, {lower:g}, below the margin, {margin:g},")
