"""What a training run is told: typed, validated, and the same in the CLI, the pipeline's metadata and the worker."""

import dataclasses
import json
import math
import os
from typing import Any, Literal, Self

from trainer_module.features import MAX_IMAGE_PIXELS, PixelFormat

Strategy = Literal["mirrored", "central"]

# Where training starts from (the cache key holds that checkpoint's digest), and how it is watched: no part of the key.
_WITHOUT_RESULT = ("init_from", "join_cluster", "check_memory", "start_timeout_s", "log_every", "holdout_every")
HANDED_OVER = "ARCFACE_TFX_TRAIN"  # the environment variable by which a local run tells them to `run_fn`


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """Settings of one training run. Sizes that depend on the data (the number of classes) are not among them.

    Attributes:
      backbone: a name in `trainer_module.backbones`.
      embedding_dim: width of the embedding; 0 takes the backbone's own.
      norm: normalisation layers, see `trainer_module.normalization`.
      backbone_options: further arguments of the backbone, e.g. {"dropout": 0.1}.
      init_from: folder of a training run or an import, whose backbone training starts from (the head is new); "" starts
        from random weights.
      batch_size: images per step over all replicas of all workers.
      steps: optimizer steps; 0, with `init_from`, evaluates and exports that backbone as it is.
      optimizer: "sgd" with momentum, as InsightFace trains, or "adamw" (Loshchilov & Hutter, arXiv:1711.05101), which
        gets further in a few hundred steps.
      learning_rate: peak; warmed up linearly from 0, then cosine to 0.
      warmup_steps: steps of the linear warm-up.
      momentum: of SGD.
      weight_decay: of the kernels of convolutions, dense layers and the head: with SGD an L2 penalty (InsightFace:
        5e-4), with AdamW decoupled from the gradient.
      clip_norm: gradients are scaled down to this global norm; 0 leaves them.
      scale: ArcFace's s, the radius of the hypersphere.
      margin: ArcFace's m, in radians.
      margin_warmup_steps: the margin grows linearly from 0 over these steps. With the full margin from the first step a
        small network on little data stays at chance: every target logit is pushed below all others at once.
      flip: mirror half of the images.
      colour: channel order that the network is trained with.
      pixel_mean: subtracted from each pixel.
      pixel_scale: divides the difference.
      max_image_pixels: width x height of an image that the exported model decodes at most; it refuses a larger one by
        its header, before memory is taken. 2^24 pixels are 50 MB.
      strategy: "mirrored" (one replica a GPU, or one on the CPU) or "central" (variables on the CPU).
      workers: worker processes; more than 1 trains by MultiWorkerMirroredStrategy over TF_CONFIG.
      join_cluster: with several workers, be the one of them that the environment's TF_CONFIG names, and wait for the
        others on its other hosts, in place of starting all of them here.
      check_memory: refuse to begin where this machine's memory surely doesn't hold the training.
      start_timeout_s: how long the workers may take to find each other before all are stopped.
      shuffle_buffer: encoded records that are shuffled; 4,096 of 7 KB are 29 MB.
      log_every: steps between two points in TensorBoard.
      holdout_every: steps between two passes over the hold-out split, if there is one (`ingest.holdout`); 0 makes only
        the one at the end. At 1% of MS1M, 58,000 images, every 2,000 steps of 512 costs 2% of the time.
      seed: of weights, data order and flips.

    Raises:
      ValueError: a value out of range, or one that would be silently ignored.
    """

    backbone: str = "iresnet_tiny"
    embedding_dim: int = 0
    norm: str = "batch"
    backbone_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    init_from: str = ""
    batch_size: int = 64
    steps: int = 1000
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    warmup_steps: int = 100
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float = 0.0
    scale: float = 64.0
    margin: float = 0.5
    margin_warmup_steps: int = 0
    flip: bool = True
    colour: Literal["rgb", "bgr"] = "rgb"
    pixel_mean: float = 127.5
    pixel_scale: float = 128.0
    max_image_pixels: int = MAX_IMAGE_PIXELS
    strategy: Strategy = "mirrored"
    workers: int = 1
    join_cluster: bool = False
    check_memory: bool = True
    start_timeout_s: float = 300.0
    shuffle_buffer: int = 4096
    log_every: int = 20
    holdout_every: int = 2000
    seed: int = 1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            self._require(field.name, not isinstance(value, float) or math.isfinite(value), "be a finite number")
        positive = (
            "batch_size",
            "max_image_pixels",
            "learning_rate",
            "scale",
            "workers",
            "start_timeout_s",
            "shuffle_buffer",
            "log_every",
        )
        for name in positive:
            self._require(name, getattr(self, name) > 0, "be positive")
        for name in (
            "embedding_dim",
            "steps",
            "warmup_steps",
            "weight_decay",
            "clip_norm",
            "margin_warmup_steps",
            "holdout_every",
            "seed",
        ):
            self._require(name, getattr(self, name) >= 0, "not be negative")
        if not self.init_from:
            self._require("steps", self.steps > 0, "be positive, or train.init_from be given")
        self._require("momentum", 0 <= self.momentum < 1, "lie in [0, 1)")
        self._require("margin", 0 <= self.margin < 1.5708, "lie in [0, pi/2)")
        self._require("optimizer", self.optimizer in ("sgd", "adamw"), "be 'sgd' or 'adamw'")
        self._require("strategy", self.strategy in ("mirrored", "central"), "be 'mirrored' or 'central'")
        self._require("join_cluster", self.workers > 1 or not self.join_cluster, "be false with train.workers=1")
        if self.workers > 1:
            self._require("strategy", self.strategy == "mirrored", f"be 'mirrored' with workers={self.workers}")
            self._require("batch_size", self.batch_size % self.workers == 0, f"divide by workers={self.workers}")
        self.pixel_format()

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ValueError(f"train.{name} must {expected}. Received: {name}={getattr(self, name)!r}")

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
