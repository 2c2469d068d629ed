"""Named sets of settings. Imports nothing heavy, so that a wrong name is answered at once."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from arcface_common.errors import ConfigError, did_you_mean

FINETUNE = "finetune"


@dataclasses.dataclass(frozen=True)
class Preset:
    """A named set of settings.

    Attributes:
      about: what it is for, what it costs and what it reaches.
      settings: "section.name" -> value.
      shares: "section.name" of a number of steps -> its share of `train.steps`, 0..1, whatever that is set to.
    """

    about: str
    settings: Mapping[str, Any]
    shares: Mapping[str, float]

    def shared_steps(self, steps: int) -> dict[str, int]:
        """The numbers of steps that are a share of all."""
        return {name: round(share * steps) for name, share in self.shares.items()}


PRESETS: dict[str, Preset] = {
    "demo": Preset(
        about="A network of 0.5 M parameters, a minute on 2 CPU cores: to see every node run on the synthetic faces.",
        settings={
            "train.backbone": "iresnet_tiny",
            "train.batch_size": 64,
            "train.steps": 900,  # 7 epochs of the 8,000 synthetic images
            "train.optimizer": "adamw",
            "train.learning_rate": 6e-3,
            "train.weight_decay": 0.1,
            "train.scale": 16.0,  # of 500 identities: as good after 900 steps as with 64 after 1,600
        },
        shares={"train.warmup_steps": 0.05, "train.margin_warmup_steps": 0.6},
    ),
    FINETUNE: Preset(
        about=(
            "Further training of the network that --init-from names, on one's own faces: 2,000 steps of 64 at a small "
            "rate. The head is new, so that rate and margin grow over the first steps."
        ),
        settings={
            "train.batch_size": 64,
            "train.steps": 2_000,
            "train.optimizer": "adamw",
            "train.learning_rate": 3e-4,
            "train.weight_decay": 5e-4,
        },
        shares={"train.warmup_steps": 0.1, "train.margin_warmup_steps": 0.3},
    ),
    "r50": Preset(
        about=(
            "ResNet50-IR + ArcFace as InsightFace trains it on MS1M: batch 512, 20 epochs of 5.8 M images. For GPUs; a "
            "CPU core makes about 3 images/s."
        ),
        settings={
            "train.backbone": "iresnet50",
            "train.batch_size": 512,
            "train.steps": 227_000,
            "train.learning_rate": 0.1,
            "train.clip_norm": 5.0,
            "train.weight_decay": 5e-4,
            "train.shuffle_buffer": 16_384,
            "train.log_every": 100,
            "evaluation.conditions": ("lfw.accuracy >= 0.99", "lfw.accuracy change >= 0"),
        },
        shares={"train.warmup_steps": 0.01},
    ),
}


def choose_preset(name: str | None, starts_from_a_backbone: bool) -> Preset:
    """The preset of a run. None is taken in silence: 5.8 million faces would be trained on a toy network.

    Args:
      name: in PRESETS; None where nobody named one.
      starts_from_a_backbone: by `--init-from` or `train.init_from`.

    Raises:
      ConfigError: no such preset, none named where there is no default, or `finetune` of nothing.
    """
    if name is None:
        name = FINETUNE if starts_from_a_backbone else ""
    if not name:
        listed = " ".join(f"{known}: {preset.about}" for known, preset in PRESETS.items() if known != FINETUNE)
        raise ConfigError(f"expected --preset, or --init-from to train a network further. {listed} Received: neither")
    if name not in PRESETS:
        raise ConfigError(
            f"expected a preset of {sorted(PRESETS)}. Received: preset={name!r}{did_you_mean(name, PRESETS)}"
        )
    if name == FINETUNE and not starts_from_a_backbone:
        raise ConfigError(
            f"expected --init-from, which names the network that {FINETUNE} trains further. Received: none"
        )
    return PRESETS[name]
