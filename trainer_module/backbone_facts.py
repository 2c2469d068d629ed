"""Names and sizes of the registered backbones, and what a training step of them takes. Standard library only."""

import dataclasses
import math

from arcface_common.features import IMAGE_SIZE
from trainer_module.settings import TrainSettings

NORMS = ("batch", "sync_batch", "batch_renorm", "group")


@dataclasses.dataclass(frozen=True)
class BackboneFacts:
    """A registered backbone.

    Attributes:
      module: of `trainer_module.backbones`, where a function of the same name builds it.
      embedding_dim: the default.
      parameters: weights, 4 bytes each, at the default embedding.
      image_bytes: memory that a training step takes for each image of a batch, measured by
        `benchmarks.training_memory`.
      stages: entries of each of its lists.
    """

    module: str
    embedding_dim: int
    parameters: int
    image_bytes: int
    stages: int


BACKBONES = {
    "iresnet18": BackboneFacts("iresnet", 512, 24_039_808, 62_000_000, 4),
    "iresnet34": BackboneFacts("iresnet", 512, 34_164_672, 88_000_000, 4),
    "iresnet50": BackboneFacts("iresnet", 512, 43_628_480, 91_000_000, 4),
    "iresnet100": BackboneFacts("iresnet", 512, 65_225_280, 141_000_000, 4),
    "iresnet_tiny": BackboneFacts("iresnet", 128, 510_592, 1_400_000, 3),
    "mobilefacenet": BackboneFacts("mobilefacenet", 128, 1_022_720, 55_000_000, 3),
    "mobilefacenet_mbf": BackboneFacts("mobilefacenet", 512, 2_083_328, 50_000_000, 3),
}
# Options that are lists of one entry a stage, by the module that builds.
STAGE_LISTS = {
    "iresnet": ("units", "widths"),
    "mobilefacenet": ("widths", "residuals", "strided_expansions", "expansions"),
}
_CHANNELS = (1, 65_536)
_UNITS = (0, 1000)
# Option of a registered backbone -> the least and the greatest value, of each entry where it is a list.
OPTION_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("stem_width", "stem_groups", "widths", "strided_expansions", "expansions", "last_width"), _CHANNELS
    ),
    **dict.fromkeys(("units", "residuals", "stem_residuals"), _UNITS),
    **dict.fromkeys(("stem_stride", "stem_kernel"), (1, IMAGE_SIZE)),
    **dict.fromkeys(("epsilon", "output_epsilon"), (1e-12, 1.0)),
    "momentum": (0.0, 1.0),
}


def copy_bytes(settings: TrainSettings, classes: int) -> int | None:
    """Memory of the copy that a training holds for its checkpoints; None for a backbone of unknown size.

    Weights, class centres, and what the optimizer keeps of each: one moment of SGD, two of AdamW.
    """
    facts = BACKBONES.get(settings.backbone)
    if facts is None:
        return None
    centres = classes * settings.sub_centres * (settings.embedding_dim or facts.embedding_dim)
    return 4 * (facts.parameters + centres) * (3 if settings.optimizer == "adamw" else 2)


def step_bytes(settings: TrainSettings, classes: int, batch: int) -> int | None:
    """Memory that a training step takes in one process beside the imports; None for a backbone of unknown size.

    Args:
      settings: of the training.
      classes: identities.
      batch: images that the process works on at a time, those of a micro-batch.
    """
    parts = step_parts(settings, classes, batch)
    return None if parts is None else sum(parts.values())


def step_parts(settings: TrainSettings, classes: int, batch: int) -> dict[str, int] | None:
    """What `step_bytes` adds up, by a name for people.

    Peaks of `benchmarks.training_memory` are met within 20 %: 6.4 times the backbone's weights and 8.4 times the class
    centres (weights, gradients, momentum, the copies that initialising and normalising make; AdamW has one more), what
    each image takes, and logits [batch, classes] eight times over. Accumulation takes four more of each.
    """
    facts = BACKBONES.get(settings.backbone)
    if facts is None:
        return None
    moments = 2 if settings.optimizer == "adamw" else 1
    slots = moments - 1 + (4 if settings.accumulate > 1 else 0)
    centres = 4 * classes * settings.sub_centres * (settings.embedding_dim or facts.embedding_dim)
    weights = 4 * facts.parameters
    # Of sampled centres weights and momentum stay whole, and so does the copy that initialising makes.
    rate = settings.sample_rate
    if settings.shard_centres:  # of logits each worker has those of all images with its share of the classes: as many
        centres //= settings.workers
    centre_copies = 8.4 + slots if rate == 1.0 else 3 + 6.4 * rate
    whole = (6.4 + slots) * weights + centre_copies * centres
    return {
        "weights and class centres": weights + centres,
        "optimizer": moments * (weights + centres),
        "gradients and copies": math.ceil(whole - (1 + moments) * (weights + centres)),
        "logits": math.ceil(8 * 4 * batch * classes * settings.sub_centres * rate),
        "activations": batch * facts.image_bytes,
    }
