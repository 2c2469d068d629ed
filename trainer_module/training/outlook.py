"""What a training will take, in one line before its first step."""

import math

from trainer_module.backbone_facts import copy_bytes, step_bytes
from trainer_module.backbones.summary import BackboneSummary
from trainer_module.settings import TrainSettings


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
    size, copy = step_bytes(settings, classes, settings.images_at_a_time()), copy_bytes(settings, classes)
    memory = ""
    if size is not None and copy is not None:
        memory = f", about {_bytes(size + copy)} without a GPU, {_bytes(copy)} of them a copy for checkpoints"
    return (
        f"  training {settings.backbone}, {network.parameters / 1e6:.1f} M parameters, {network.macs / 1e6:,.0f} M "
        f"multiply-accumulates an image, on {data}: {settings.steps:,} steps of {settings.batch_size:,}{epochs}{memory}"
    )


def _bytes(count: int) -> str:
    """An estimate: "12.3 GB", or "40 MB" below one."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{math.ceil(count / 1e6)} MB"
