"""What a training will take and what it starts from, in a line each before its first step. Words for people alone."""

import math
import os
from collections.abc import Sequence

from arcface_common import filesystem
from arcface_common.artifacts import IDENTITIES_FILE
from trainer_module.backbone_facts import copy_bytes, step_bytes
from trainer_module.backbones.summary import BackboneSummary
from trainer_module.settings import TrainSettings
from trainer_module.training.start import KeptCentres


def outlook(settings: TrainSettings, network: BackboneSummary, classes: int, images: int | None) -> str:
    """The line.

    Args:
      settings: of the training.
      network: what is trained.
      classes: identities.
      images: of the train split; None where counting them would mean reading them.
    """
    data, epochs = f"{classes:,} identities", ""
    if images is not None:
        data, epochs = f"{images:,} images of {data}", f", {settings.steps * settings.batch_size / images:.1f} epochs"
    several = settings.workers > 1
    workers = f", {settings.batch_size // settings.workers:,} by each of {settings.workers} workers" if several else ""
    size, copy = step_bytes(settings, classes, settings.images_at_a_time()), copy_bytes(settings, classes)
    memory = ""
    if size is not None and copy is not None:
        where = "in each, " if several else ""
        memory = f", about {_bytes(size + copy)} {where}without a GPU, {_bytes(copy)} of them a copy for checkpoints"
    return (
        f"  training {settings.backbone}, {network.parameters / 1e6:.1f} M parameters, {network.macs / 1e6:,.0f} M "
        f"multiply-accumulates an image, on {data}: {settings.steps:,} steps of {settings.batch_size:,}{workers}"
        f"{epochs}{memory}"
    )


def begun_from(settings: TrainSettings, new_layers: Sequence[str], centres: KeptCentres | None) -> str:
    """What a training takes over from the run or import that it starts from, in a line for people.

    Args:
      settings: `init_from` and others.
      new_layers: names of those of the backbone that are new.
      centres: None where they are new.
    """
    if settings.init_centres == "data":
        kept = "at the means of the data"
    elif centres:
        new, dropped = centres.now - centres.kept, centres.before - centres.kept
        kept = f"{centres.kept:,} of {centres.before:,} identities kept, {new:,} new, {dropped:,} dropped"
    else:
        labelled = filesystem.exists(os.path.join(settings.init_from, IDENTITIES_FILE))
        hint = "train.init_centres=kept takes those of identities with the same label" if labelled else "it has none"
        kept = f"new, {hint}"
    layers = f"; new layers: {', '.join(new_layers)}" if new_layers else ""
    frozen = f"; the backbone is frozen for {settings.freeze_steps:,} steps" if settings.freeze_steps else ""
    return f"  starts from {settings.init_from}{layers}{frozen}; centres: {kept}"


def _bytes(count: int) -> str:
    """An estimate: "12.3 GB", or "40 MB" below one."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{math.ceil(count / 1e6)} MB"
