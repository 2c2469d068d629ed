"""What a training run is told: typed, validated, and the same in the CLI, the pipeline's metadata and the worker."""

import dataclasses
import json
import os
from typing import Any, Literal, Self

from pydantic import Field

from arcface_common.features import IMAGE_SIZE, MAX_IMAGE_PIXELS, PixelFormat
from arcface_common.setting import Names, Number, Options, Text, Whole, Wholes, section
from trainer_module.loss_facts import LOSSES
from trainer_module.settings_together import check_together

_VERIFIES = ("verify_every", "verify_sets")  # which decide what is kept, with train.keep=best
Strategy = Literal["mirrored", "central"]
# Where training starts from (the cache key holds that checkpoint's digest), and how it is watched: no part of the key.
_WITHOUT_RESULT = (
    "init_from",
    "join_cluster",
    "check_memory",
    "start_timeout_s",
    "stall_timeout_s",
    "restarts",
    "log_every",
    "holdout_every",
    *_VERIFIES,
    "checkpoint_every",
    "max_image_pixels",  # the Exporter's
)
HANDED_OVER = "ARCFACE_TFX_TRAIN"  # the environment variable by which a local run tells them to `run_fn`


@section("train")
class TrainSettings:
    """Settings of one training run. Sizes that depend on the data (the number of classes) are not among them.

    Raises:
      ConfigError: a value out of range, or one that would be silently ignored.
    """

    backbone: Text = Field(
        default="iresnet_tiny",
        description="The network: iresnet18, iresnet34, iresnet50, iresnet100, mobilefacenet, mobilefacenet_mbf, "
        "iresnet_tiny, or your own as package.module:function.",
    )
    embedding_dim: Whole = Field(
        default=0, ge=0, le=65_536, description="Width of the embedding; 0 takes the backbone's own."
    )
    norm: Text = Field(
        default="batch",
        description="Normalisation layers: batch, sync_batch (over all replicas), batch_renorm (Ioffe, 2017), group "
        "(Wu & He, 2018).",
    )
    backbone_options: Options = Field(
        default_factory=dict,
        description="Further arguments of the backbone, e.g. {dropout: 0.1}; one alone is "
        "train.backbone_options.dropout=0.1.",
    )
    init_from: Text = Field(
        default="",
        description="Folder of a training run or an import, whose backbone training starts from (the head is new), "
        "as --init-from names it; empty for random weights.",
    )
    init_centres: Literal["random", "data", "kept"] = Field(
        default="random",
        description="Where the class centres begin. Data: at the mean of what the backbone of train.init_from makes of "
        "each identity's images, which takes one pass over them. Kept: at those of train.init_from for identities of "
        "the same label, where its data and these name the same people alike; others are random.",
    )
    frozen_statistics: bool = Field(
        default=False,
        description="Normalise by the moving statistics that train.init_from came with, and leave them as they are, in "
        "place of each batch's own. Gamma and beta are trained; there is no dropout.",
    )
    batch_size: Whole = Field(
        default=64, ge=1, le=2**20, description="Images per step over all replicas of all workers."
    )
    accumulate: Whole = Field(
        default=1,
        ge=1,
        le=65_536,
        description="Micro-batches that a step takes one after the other, in the memory of one; their gradients are "
        "summed. Batch normalisation sees the micro-batch.",
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        default="float32",
        description="What the network computes in; weights, embedding, head and loss are float32 always, and the "
        "exported model. The loss is scaled with mixed_float16.",
    )
    jit: bool = Field(default=False, description="Compile the network and its gradient with XLA.")
    steps: Whole = Field(
        default=1000,
        ge=0,
        description="Optimizer steps; 0, with train.init_from, evaluates and exports that backbone as it is.",
    )
    optimizer: Literal["sgd", "adamw"] = Field(
        default="sgd",
        description="SGD with momentum, as InsightFace trains, or AdamW (Loshchilov & Hutter, arXiv:1711.05101), "
        "which gets further in a few hundred steps.",
    )
    learning_rate: Number = Field(
        default=0.1, gt=0, le=100, description="The peak: warmed up linearly from 0, then as train.schedule says."
    )
    backbone_rate: Number = Field(
        default=1.0,
        gt=0,
        le=1,
        description="What the learning rate is multiplied by for the backbone. The class centres, and a new output "
        "layer, have the whole rate.",
    )
    freeze_steps: Whole = Field(
        default=0,
        ge=0,
        description="Steps from the first one on in which the backbone of train.init_from stays as it is, its moving "
        "statistics too, and computes as it is served. The class centres, and a new output layer, are trained alone.",
    )
    schedule: Literal["cosine", "step", "polynomial"] = Field(
        default="cosine",
        description="What follows the warm-up. Cosine: half a cosine to 0. Step: the rate times train.decay_factor at "
        "each of train.milestones. Polynomial: (1 - t) to train.power, t from 0 to 1.",
    )
    milestones: Wholes = Field(
        default=(),
        description="Steps after which the rate falls, with train.schedule=step. InsightFace's are for a batch of 512: "
        "times 512 / train.batch_size they are yours.",
    )
    decay_factor: Number = Field(
        default=0.1, gt=0, lt=1, description="What the rate is multiplied by at each of train.milestones."
    )
    power: Number = Field(
        default=2.0, gt=0, le=100, description="Exponent of train.schedule=polynomial; arcface_torch's was 2, later 1."
    )
    warmup_steps: Whole = Field(
        default=100, ge=0, description="Steps of the linear warm-up; the presets take a share of train.steps."
    )
    momentum: Number = Field(default=0.9, ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: Number = Field(
        default=5e-4,
        ge=0,
        le=10,
        description="Decay of the kernels of convolutions, dense layers and the head: with SGD an L2 penalty "
        "(InsightFace: 5e-4), with AdamW decoupled from the gradient.",
    )
    l2_decay: Number = Field(
        default=1.0,
        gt=0,
        le=1,
        description="What the L2 penalty is multiplied by from the next step on, whenever it exceeds the loss. The "
        "original project's is 0.8; 1 leaves it.",
    )
    clip_norm: Number = Field(
        default=0.0, ge=0, le=1_000_000, description="Gradients are scaled down to this global norm; 0 leaves them."
    )
    loss: Literal["arcface", "cosface", "combined", "adaface", "magface", "curricularface", "normface", "softmax"] = (
        Field(
            default="arcface",
            description="The loss over the class centres. ArcFace adds to the angle, CosFace subtracts from the "
            "cosine, combined does both. AdaFace and MagFace go by the length of the embedding. CurricularFace turns "
            "to hard classes as it goes on. NormFace has no margin, softmax no hypersphere either.",
        )
    )
    loss_options: Options = Field(
        default_factory=dict,
        description="Further arguments of the loss: straight_through of arcface, m1 and m3 of combined, h and momentum "
        "of adaface, lower_margin, lower_norm, upper_norm and weight of magface, momentum of curricularface.",
    )
    scale: Number = Field(default=64.0, gt=0, le=1_000_000, description="The loss's s, the radius of the hypersphere.")
    margin: Number | None = Field(
        default=None,
        ge=0,
        lt=1.5708,
        description="The loss's m, in radians or as a cosine; 0 is none. Null takes the loss's own: 0.5 of arcface "
        "and curricularface, 0.4 of cosface and adaface, 0.3 of combined, 0.8 of magface.",
    )
    sub_centres: Whole = Field(
        default=1,
        ge=1,
        le=16,
        description="Centres of each identity, of which an image's nearest counts (Deng et al., ECCV 2020): images "
        "with a wrong label gather at one of their own. 3 is usual for noisy labels.",
    )
    ignored_from: Number = Field(
        default=1.0,
        gt=0,
        le=1,
        description="The cosine of other identities whose centre is nearer to an image than this becomes 0 in its "
        "loss: they may be the same person twice. 0.4 is usual for noisy labels; 1 changes none.",
    )
    sample_rate: Number = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the identities that a step compares with, its own always among them (Partial FC). 0.1 "
        "makes a million identities trainable; top-1 is then among those that were drawn.",
    )
    shard_centres: bool = Field(
        default=False,
        description="Split the class centres over the replicas (Partial FC): each of N holds and trains 1 / N of them, "
        "and the optimizer's memory of them. The result is the same, and N may change when a training goes on.",
    )
    margin_warmup_steps: Whole = Field(
        default=0,
        ge=0,
        description="The margin grows linearly from 0 over these steps. With the full margin from the first step a "
        "small network on little data stays at chance: every target logit is pushed below all others at "
        "once.",
    )
    flip: bool = Field(default=True, description="Mirror half of the images.")
    augment: Options = Field(
        default_factory=dict,
        description="How likely each augmentation of an image is: crop, zoom, low_resolution, photometric, jpeg, e.g. "
        "{crop: 0.2}; none is used without.",
    )
    colour: Literal["rgb", "bgr"] = Field(default="rgb", description="Channel order that the network is trained with.")
    pixel_mean: Number = Field(
        default=127.5, ge=-65_535, le=65_535, description="Subtracted from each pixel of 0..255."
    )
    pixel_scale: Number = Field(default=128.0, gt=0, le=65_535, description="Divides the difference.")
    max_image_pixels: Whole = Field(
        default=MAX_IMAGE_PIXELS,
        ge=IMAGE_SIZE**2,
        le=2**26,
        description="Width times height of an image that the exported model decodes at most. It refuses a larger "
        "one by its header, before memory is taken. 2^24 pixels are 50 MB.",
    )
    strategy: Strategy = Field(
        default="mirrored",
        description="Where the variables lie. Mirrored: one replica a GPU, or one on the CPU. Central: variables on "
        "the CPU, replicas on the GPUs (CentralStorageStrategy), as the original did.",
    )
    workers: Whole = Field(
        default=1,
        ge=1,
        le=4096,
        description="Worker processes; more than 1 trains by MultiWorkerMirroredStrategy over TF_CONFIG.",
    )
    join_cluster: bool = Field(
        default=False,
        description="With several workers, be the one of them that the environment's TF_CONFIG names, and wait for "
        "the others on its other hosts, in place of starting all of them here. Without it a TF_CONFIG "
        "is refused.",
    )
    check_memory: bool = Field(
        default=True, description="Refuse to begin where this machine's memory surely doesn't hold the training."
    )
    start_timeout_s: Number = Field(
        default=300.0,
        gt=0,
        le=604_800,
        description="Seconds that the workers may take to find each other before all are stopped.",
    )
    stall_timeout_s: Number = Field(
        default=600.0,
        gt=0,
        le=604_800,
        description="Seconds that several workers may take for a step, a checkpoint or an evaluation. After them "
        "all are killed, and begin again from the last checkpoint.",
    )
    restarts: Whole = Field(
        default=3,
        ge=0,
        description="Times that all workers of this host begin again, without a new checkpoint between them, where one "
        "was killed or hangs.",
    )
    shuffle_buffer: Whole = Field(
        default=4096,
        ge=1,
        le=2**24,
        description="Encoded records that are shuffled at a time; 4,096 of 7 KB are 29 MB, and three times as much is "
        "held.",
    )
    log_every: Whole = Field(default=20, ge=1, description="Steps between two points in TensorBoard.")
    holdout_every: Whole = Field(
        default=2000,
        ge=0,
        description="Steps between two passes over the hold-out split, if there is one (ingest.holdout); 0 makes "
        "only the one at the end. At 1% of MS1M, 58,000 images, every 2,000 steps of 512 costs 2% of "
        "the time.",
    )
    verify_every: Whole = Field(
        default=0,
        ge=0,
        description="Steps between two passes over the verification sets while training, with the last one after the "
        "last step; 0 makes none. Pairs are judged as the gate judges them, by the weights of that step.",
    )
    verify_sets: Names = Field(
        default=(),
        description="Verification sets of these passes; none means all that a model is judged by in the end.",
    )
    keep: Literal["last", "best"] = Field(
        default="last",
        description="The checkpoint that a training ends with, and that is exported: of the last step, or the one of "
        "the highest mean accuracy that train.verify_every found. Of equal ones the latest.",
    )
    checkpoint_every: Whole = Field(
        default=0,
        ge=0,
        description="Steps between two checkpoints of a local run, from the last of which a training that was stopped "
        "goes on. 0 takes one every ten minutes.",
    )
    seed: Whole = Field(default=1, ge=0, description="Seed of weights, data order, flips and augmentation.")

    def __post_init__(self) -> None:
        check_together(self)

    def full_margin(self) -> float:
        """The loss's m after its warm-up."""
        return LOSSES[self.loss].margin if self.margin is None else self.margin

    def images_at_a_time(self) -> int:
        """Images that a worker holds activations of: its share of a micro-batch."""
        return self.batch_size // (self.workers * self.accumulate)

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
        decides = _VERIFIES if self.keep == "best" else ()
        return {k: value for k, value in self.to_dict().items() if k not in _WITHOUT_RESULT or k in decides}

    def hand_over(self) -> str:
        """The other fields, as the text of the environment variable HANDED_OVER."""
        return json.dumps({name: getattr(self, name) for name in _WITHOUT_RESULT})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; of `result_settings` too, where HANDED_OVER tells the other fields."""
        missing = [name for name in _WITHOUT_RESULT if name not in values]
        told = handed_over() if missing else {}
        return cls(**{name: told[name] for name in missing}, **values)


def handed_over() -> dict[str, Any]:
    """The fields that `TrainSettings.hand_over` told this process by the environment."""
    told: dict[str, Any] = json.loads(os.environ[HANDED_OVER])
    return told
