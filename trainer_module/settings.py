"""What a training run is told: typed, validated, and the same in the CLI, the pipeline's metadata and the worker."""

import dataclasses
import json
import os
from typing import Any, Literal, Self

from arcface_common.features import MAX_IMAGE_PIXELS, PixelFormat
from arcface_common.setting import check_settings, refuse, setting

Strategy = Literal["mirrored", "central"]

# Where training starts from (the cache key holds that checkpoint's digest), and how it is watched: no part of the key.
_WITHOUT_RESULT = ("init_from", "join_cluster", "check_memory", "start_timeout_s", "log_every", "holdout_every")
HANDED_OVER = "ARCFACE_TFX_TRAIN"  # the environment variable by which a local run tells them to `run_fn`


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """Settings of one training run. Sizes that depend on the data (the number of classes) are not among them.

    Raises:
      ValueError: a value out of range, or one that would be silently ignored.
    """

    backbone: str = setting(
        "iresnet_tiny",
        "The network: iresnet18, iresnet34, iresnet50, iresnet100, mobilefacenet, mobilefacenet_mbf, iresnet_tiny, or "
        "your own as package.module:function.",
    )
    embedding_dim: int = setting(0, "Width of the embedding; 0 takes the backbone's own.", low=0)
    norm: str = setting(
        "batch",
        "Normalisation layers: batch, sync_batch (over all replicas), batch_renorm (Ioffe, 2017), group (Wu & He, "
        "2018).",
    )
    backbone_options: dict[str, Any] = setting(
        {}, "Further arguments of the backbone, e.g. {dropout: 0.1}; one alone is train.backbone_options.dropout=0.1."
    )
    init_from: str = setting(
        "",
        "Folder of a training run or an import, whose backbone training starts from (the head is new), as --init-from "
        "names it; empty for random weights.",
    )
    batch_size: int = setting(64, "Images per step over all replicas of all workers.", low=1)
    steps: int = setting(
        1000,
        "Optimizer steps; 0, with train.init_from, evaluates and exports that backbone as it is.",
        low=0,
    )
    optimizer: Literal["sgd", "adamw"] = setting(
        "sgd",
        "SGD with momentum, as InsightFace trains, or AdamW (Loshchilov & Hutter, arXiv:1711.05101), which gets "
        "further in a few hundred steps.",
    )
    learning_rate: float = setting(0.1, "The peak: warmed up linearly from 0, then a cosine to 0.", above=0)
    warmup_steps: int = setting(100, "Steps of the linear warm-up; the presets take a share of train.steps.", low=0)
    momentum: float = setting(0.9, "Momentum of SGD.", low=0, below=1)
    weight_decay: float = setting(
        5e-4,
        "Decay of the kernels of convolutions, dense layers and the head: with SGD an L2 penalty (InsightFace: 5e-4), "
        "with AdamW decoupled from the gradient.",
        low=0,
    )
    clip_norm: float = setting(0.0, "Gradients are scaled down to this global norm; 0 leaves them.", low=0)
    scale: float = setting(64.0, "ArcFace's s, the radius of the hypersphere.", above=0)
    margin: float = setting(0.5, "ArcFace's m, in radians: below pi/2.", low=0, below=1.5708)
    margin_warmup_steps: int = setting(
        0,
        "The margin grows linearly from 0 over these steps. With the full margin from the first step a small network "
        "on little data stays at chance: every target logit is pushed below all others at once.",
        low=0,
    )
    flip: bool = setting(True, "Mirror half of the images.")
    colour: Literal["rgb", "bgr"] = setting("rgb", "Channel order that the network is trained with.")
    pixel_mean: float = setting(127.5, "Subtracted from each pixel of 0..255.")
    pixel_scale: float = setting(128.0, "Divides the difference.", above=0)
    max_image_pixels: int = setting(
        MAX_IMAGE_PIXELS,
        "Width times height of an image that the exported model decodes at most. It refuses a larger one by its "
        "header, before memory is taken. 2^24 pixels are 50 MB.",
        low=1,
    )
    strategy: Strategy = setting(
        "mirrored",
        "Where the variables lie. Mirrored: one replica a GPU, or one on the CPU. Central: variables on the CPU, "
        "replicas on the GPUs (CentralStorageStrategy), as the original did.",
    )
    workers: int = setting(
        1, "Worker processes; more than 1 trains by MultiWorkerMirroredStrategy over TF_CONFIG.", low=1
    )
    join_cluster: bool = setting(
        False,
        "With several workers, be the one of them that the environment's TF_CONFIG names, and wait for the others on "
        "its other hosts, in place of starting all of them here. Without it a TF_CONFIG is refused.",
    )
    check_memory: bool = setting(True, "Refuse to begin where this machine's memory surely doesn't hold the training.")
    start_timeout_s: float = setting(
        300.0, "Seconds that the workers may take to find each other before all are stopped.", above=0
    )
    shuffle_buffer: int = setting(4096, "Encoded records that are shuffled; 4,096 of 7 KB are 29 MB.", low=1)
    log_every: int = setting(20, "Steps between two points in TensorBoard.", low=1)
    holdout_every: int = setting(
        2000,
        "Steps between two passes over the hold-out split, if there is one (ingest.holdout); 0 makes only the one at "
        "the end. At 1% of MS1M, 58,000 images, every 2,000 steps of 512 costs 2% of the time.",
        low=0,
    )
    seed: int = setting(1, "Seed of weights, data order and flips.", low=0)

    def __post_init__(self) -> None:
        check_settings("train", self)
        self._require("steps", self.steps > 0 or bool(self.init_from), "positive, or train.init_from be given")
        for name in ("warmup_steps", "margin_warmup_steps") if self.steps else ():
            self._require(name, getattr(self, name) <= self.steps, f"at most train.steps={self.steps}")
        self._require("join_cluster", self.workers > 1 or not self.join_cluster, "false with train.workers=1")
        if self.workers > 1:
            self._require("strategy", self.strategy == "mirrored", f"mirrored with workers={self.workers}")
            self._require("batch_size", self.batch_size % self.workers == 0, f"a multiple of workers={self.workers}")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            refuse("train", self, name, expected)

    def pixel_format(self) -> PixelFormat:
        """The colour order and value range that the network is trained with."""
        return PixelFormat(self.colour, self.pixel_mean, self.pixel_scale)

    def build_options(self) -> dict[str, Any]:
        """Arguments of `backbones.build` beside the name."""
        options = {**self.backbone_options, "norm": self.norm}
        return {**options, "embedding_dim": self.embedding_dim} if self.embedding_dim else options

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)

    def result_settings(self) -> dict[str, Any]:
        """The fields that decide what training comes to, as JSON-ready values: a local run's cache key."""
        return {name: value for name, value in self.to_dict().items() if name not in _WITHOUT_RESULT}

    def hand_over(self) -> str:
        """The other fields, as the text of the environment variable HANDED_OVER."""
        return json.dumps({name: getattr(self, name) for name in _WITHOUT_RESULT})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; of `result_settings` too, where HANDED_OVER tells the other fields."""
        missing = [name for name in _WITHOUT_RESULT if name not in values]
        told = json.loads(os.environ[HANDED_OVER]) if missing else {}
        return cls(**{name: told[name] for name in missing}, **values)
