"""What a whole run will take, by what a dry run of it measured. Arithmetic and words alone."""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from arcface_common.duration import in_hours
from components.datasets.pair_facts import DEFAULT_PAIRS
from components.datasets.sample import RecordCounts
from pipeline.checks.memory import Available, needed_parts
from pipeline.config import PipelineConfig

_GB = 1e9
_IMAGES_OF_A_PAIR = 4  # with their mirrors
_NOTE = (
    "The dry run's model is thrown away, and its figures are no verdict: it saw "
    "{images} images. Only these records were read: `arcface-tfx inspect` reads all."
)


@dataclasses.dataclass(frozen=True)
class Whole:
    """What the whole run works on.

    Attributes:
      records: of the data set.
      pairs: set -> how many pairs; of the one that is drawn, what its images are worth: each is embedded once.
    """

    records: RecordCounts
    pairs: Mapping[str, int]

    @classmethod
    def of(cls, config: PipelineConfig, records: RecordCounts, pairs: Mapping[str, int]) -> "Whole":
        """With what is kept out of training taken off, and the set that is drawn of it.

        Args:
          config: of the whole run.
          records: of the data set, small identities left out.
          pairs: set -> how many, of the sets that are files.
        """
        ingest, drawn = config.ingest, {}
        kept_out = RecordCounts(
            round(ingest.verify_identities * records.images), int(ingest.verify_identities * records.identities)
        )
        if config.drawn:
            drawn[config.drawn.name] = min(config.evaluation.verify_pairs or DEFAULT_PAIRS, kept_out.images // 2)
        left = RecordCounts(
            max(1, round((records.images - kept_out.images) * (1 - ingest.holdout))),
            records.identities - kept_out.identities,
        )
        return cls(left, {**pairs, **drawn})


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a dry run measured.

    Attributes:
      images: that it trained on.
      identities: of these images.
      parameters: of the backbone.
      embedding_dim: of the backbone.
      frozen_step: seconds of a step with a frozen backbone; None where there was none.
      step: seconds of another step; None where there was none.
      memory: bytes that the training process held at most; 0 without a training.
      pair: seconds of a pair's evaluation.
      nodes: seconds of all nodes, without those of the steps.
    """

    images: int
    identities: int
    parameters: int
    embedding_dim: int
    frozen_step: float | None
    step: float | None
    memory: int
    pair: float
    nodes: float


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What a whole run will take.

    Attributes:
      backbone: its name.
      parameters: of the backbone.
      centre_parameters: of the class centres.
      images: that are trained on.
      identities: of these images.
      steps: of the training.
      batch_size: images a step.
      epochs: how often each image is seen.
      images_per_second: of the training, without its checks; None without a training, as the next two.
      step_seconds: of a step whose backbone is trained.
      frozen_step_seconds: of one whose backbone is frozen; None where there is none, too.
      memory: part -> bytes, as estimated for a machine without a GPU; None for a backbone of one's own.
      memory_seen: bytes that the dry run's training held.
      memory_left: bytes that this machine had left before.
      memory_limit: what sets that.
      seconds: part of the run -> how long it takes.
      measured_images: that the dry run trained on.
      measured_identities: of these images.
      about: `images` and `epochs` are no counts: only a run knows how many images a share of the identities has.
    """

    backbone: str
    parameters: int
    centre_parameters: int
    images: int
    identities: int
    steps: int
    batch_size: int
    epochs: float
    images_per_second: float | None
    step_seconds: float | None
    frozen_step_seconds: float | None
    memory: dict[str, int] | None
    memory_seen: int
    memory_left: int
    memory_limit: str
    seconds: dict[str, float]
    measured_images: int
    measured_identities: int
    about: bool

    @property
    def total_seconds(self) -> float:
        """Of the whole run, but for reading `train.rec`."""
        return sum(self.seconds.values())

    def to_dict(self) -> dict[str, Any]:
        """The fields and the sum as JSON-ready values."""
        return {**dataclasses.asdict(self), "total_seconds": self.total_seconds}


def forecast(config: PipelineConfig, whole: Whole, measured: Measured, left: Available) -> Forecast:
    """What the whole run will take.

    Args:
      config: of the whole run.
      whole: what it works on.
      measured: by the dry run.
      left: memory that the machine had left before.
    """
    train, records = config.train, whole.records
    frozen = measured.frozen_step or 0.0
    moving = measured.step or 0.0
    training = train.freeze_steps * frozen + (train.steps - train.freeze_steps) * moving
    first_centres = records.images * measured.pair / _IMAGES_OF_A_PAIR if train.init_centres == "data" else 0.0
    seen = train.steps * train.batch_size
    return Forecast(
        backbone=train.backbone,
        parameters=measured.parameters,
        centre_parameters=records.identities * train.sub_centres * measured.embedding_dim,
        images=records.images,
        identities=records.identities,
        steps=train.steps,
        batch_size=train.batch_size,
        epochs=seen / records.images,
        images_per_second=seen / training if training else None,
        step_seconds=measured.step,
        frozen_step_seconds=measured.frozen_step,
        memory=needed_parts(train, records.identities) if train.steps else None,
        memory_seen=measured.memory,
        memory_left=left.bytes,
        memory_limit=left.limit,
        seconds={
            "first class centres": first_centres,
            "training": training,
            "checks while training": _checks(config, whole, measured),
            "evaluation": sum(whole.pairs.values()) * measured.pair,
            "all else": measured.nodes,
        },
        measured_images=measured.images,
        measured_identities=measured.identities,
        about=bool(config.ingest.verify_identities or config.ingest.holdout),
    )


def _checks(config: PipelineConfig, whole: Whole, measured: Measured) -> float:
    """Seconds of the verification and the held-out images while it trains."""
    train = config.train
    seconds = 0.0
    if train.verify_every:
        names = train.verify_sets or tuple(whole.pairs)
        seconds += -(-train.steps // train.verify_every) * sum(whole.pairs[name] for name in names) * measured.pair
    if config.ingest.holdout:
        held = whole.records.images * config.ingest.holdout / (1 - config.ingest.holdout)
        times = -(-train.steps // train.holdout_every) if train.holdout_every else 1
        seconds += times * held * measured.pair / _IMAGES_OF_A_PAIR
    return seconds


def forecast_lines(found: Forecast, now: datetime.datetime | None = None) -> list[str]:
    """A forecast for people.

    Args:
      found: the forecast.
      now: when the run begins; None is at once.
    """
    backbone, centres = (f"{count / 1e6:,.2f} M" for count in (found.parameters, found.centre_parameters))
    ends = (now or datetime.datetime.now()) + datetime.timedelta(seconds=found.total_seconds)
    rows = [
        ("network", f"{found.backbone}, {backbone} parameters, and {centres} of the class centres"),
        ("data", f"{_about(found)}{found.images:,} images of {found.identities:,} identities"),
        *(_of_training(found) if found.steps else ()),
        *(("time", f"{in_hours(seconds):<12}  {name}") for name, seconds in found.seconds.items() if seconds),
        ("time", f"{in_hours(found.total_seconds):<12}  in all, until {ends:%Y-%m-%d %H:%M} if it begins now"),
    ]
    heads = [head if not i or head != rows[i - 1][0] else "" for i, (head, _) in enumerate(rows)]
    lines = [f"{head:<12} {words}" for head, (_, words) in zip(heads, rows, strict=True)]
    note = _NOTE.format(images=f"{found.measured_images:,}")
    return ["Every node ran. The whole run will take:", *lines, "", note]


def _about(found: Forecast) -> str:
    return "about " if found.about else ""


def _of_training(found: Forecast) -> Iterator[tuple[str, str]]:
    """Steps, rate and memory, a head and words each."""
    step = found.step_seconds or found.frozen_step_seconds
    few = f"measured with the class centres of {found.measured_identities:,} identities"
    yield "training", f"{found.steps:,} steps of {found.batch_size:,} images, {_about(found)}{found.epochs:,.1f} epochs"
    yield "rate", f"{found.images_per_second:,.1f} images/s, {step:,.2f} s a step, {few}"
    left = f"{found.memory_left / _GB:.1f} GB were left of {found.memory_limit}"
    if found.memory is None:
        yield "memory", f"{found.memory_seen / _GB:.1f} GB held by the dry run's training; {left}"
        return
    yield "memory", f"about {sum(found.memory.values()) / _GB:.1f} GB without a GPU; {left}"
    for name, size in found.memory.items():
        yield "memory", f"{size / _GB:7.3f} GB    {name}"
