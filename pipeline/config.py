"""The pipeline's configuration: typed, validated, with presets and `--set name=value`.

Imports no TensorFlow, so that `--help` and a wrong flag are answered at once.
"""

import dataclasses
import glob
import hashlib
import json
import os
import typing
from collections.abc import Iterable
from typing import Any

import yaml

from components.record_example_gen.settings import IngestSettings
from evaluator_custom.conditions import CUTS, Condition, Cut, parse_all, sets_of
from pipeline.beam_runners import beam_args
from trainer_module.features import VERIFICATION_SETS
from trainer_module.settings import TrainSettings


class ConfigError(ValueError):
    """A setting that doesn't exist or whose value is not allowed."""


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What a model is judged by.

    Attributes:
      sets: verification sets, each a `<set>.bin` in the data set's folder, which must be there; none means those of
        the usual four that are there, and all that a condition names.
      conditions: what a model must fulfil to be pushed, see `evaluator_custom.conditions`; at least one.
      folds: "contiguous" cuts them in file order, as InsightFace does; "stratified" cuts each kind of pairs by itself,
        for sets that are sorted by kind.

    Raises:
      ValueError: other folds, a set that comes twice, no condition, or one that cannot be read or is on a set that
        isn't evaluated.
    """

    sets: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ("lfw.accuracy >= 0.95", "lfw.accuracy change >= 0")
    folds: Cut = "contiguous"

    def __post_init__(self) -> None:
        if self.folds not in CUTS:
            raise ValueError(f"evaluation.folds must be of {CUTS}. Received: folds={self.folds!r}")
        if len(set(self.sets)) != len(self.sets):
            raise ValueError(f"evaluation.sets must be different names. Received: sets={self.sets!r}")
        try:
            conditions = self.parsed_conditions
        except ValueError as error:
            raise ValueError(f"evaluation.conditions: {error}") from error
        for name in sets_of(conditions):
            if self.sets and name not in self.sets:
                raise ValueError(f"evaluation.conditions must name sets of {self.sets}. Received: {name!r}")

    @property
    def parsed_conditions(self) -> tuple[Condition, ...]:
        """The conditions, read."""
        return parse_all(self.conditions)

    @property
    def required_sets(self) -> tuple[str, ...]:
        """The sets without which there is no verdict: those that were named, here or in a condition."""
        return self.sets or sets_of(self.parsed_conditions)

    @property
    def evaluated_sets(self) -> tuple[str, ...]:
        """The sets that are evaluated where nobody can look which are there: all four, and those of conditions."""
        return self.sets or tuple(dict.fromkeys((*VERIFICATION_SETS, *self.required_sets)))


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """All that `create_pipeline` is told.

    Attributes:
      data: folder of the data set: `train.rec`, `train.idx`, `property`, `<set>.bin`.
      root: folder of everything the pipeline writes.
      name: the pipeline's name in ML Metadata and on Kubeflow.
      ingest: see IngestSettings.
      train: see TrainSettings.
      evaluation: see EvaluationConfig.
      init_digest: digest of the checkpoint that `train.init_from` names, so that another one is another cache key.
      beam_args: Beam's options, see `beam_runners`. They are part of a node's cache key: another spelling re-runs it.
    """

    data: str
    root: str
    name: str = "arcface"
    ingest: IngestSettings = dataclasses.field(default_factory=IngestSettings)
    train: TrainSettings = dataclasses.field(default_factory=TrainSettings)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    init_digest: str = ""
    beam_args: tuple[str, ...] = beam_args()

    @property
    def serving_dir(self) -> str:
        """Where versions of the model are pushed to."""
        return os.path.join(self.root, "serving", "arcface")

    @property
    def pipeline_root(self) -> str:
        """Where the nodes' outputs lie."""
        return os.path.join(self.root, "pipeline")

    @property
    def work_dir(self) -> str:
        """Folder of the ExampleGens that outlives a run: digests, and finished shards of an interrupted ingest."""
        return os.path.join(self.root, "ingest")

    @property
    def metadata_path(self) -> str:
        """ML Metadata's SQLite file of a local run."""
        return os.path.join(self.root, "metadata.sqlite")


@dataclasses.dataclass(frozen=True)
class Preset:
    """A named set of settings.

    Attributes:
      about: what it is for, what it costs and what it reaches.
      settings: "section.name" -> value.
    """

    about: str
    settings: dict[str, Any]


PRESETS: dict[str, Preset] = {
    "demo": Preset(
        about="A network of 0.6 M parameters, 2 minutes on 2 CPU cores: to see every node run on the synthetic faces.",
        settings={
            "train.backbone": "iresnet_tiny",
            "train.batch_size": 64,
            "train.steps": 1600,  # 13 epochs of the 8,000 synthetic images
            "train.optimizer": "adamw",
            "train.learning_rate": 4e-3,
            "train.weight_decay": 0.1,
            "train.warmup_steps": 80,
            "train.margin_warmup_steps": 960,
        },
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
            "train.warmup_steps": 2_000,
            "train.clip_norm": 5.0,
            "train.weight_decay": 5e-4,
            "train.shuffle_buffer": 16_384,
            "train.log_every": 100,
            "evaluation.conditions": ("lfw.accuracy >= 0.99", "lfw.accuracy change >= 0"),
        },
    ),
}


def make_config(
    data: str, root: str, preset: str, overrides: Iterable[str] = (), init_from: str | None = None
) -> PipelineConfig:
    """A configuration from a preset and the command line's overrides.

    Args:
      data: folder of the data set.
      root: folder of everything the pipeline writes.
      preset: a name in PRESETS.
      overrides: "section.name=value" each, the value as YAML; a dict's entry is "section.name.key=value".
      init_from: folder of a training run or an import to start from; it decides the backbone and its pixels.

    Returns:
      The configuration.

    Raises:
      ConfigError: an unknown preset or setting, or a value that is not allowed; names it.
    """
    if preset not in PRESETS:
        raise ConfigError(f"expected a preset of {sorted(PRESETS)}. Received: preset={preset!r}")
    values: dict[str, dict[str, Any]] = {"ingest": {}, "train": {}, "evaluation": {}}
    given = [_parse_override(text) for text in overrides]
    initial = initial_settings(init_from) if init_from else {}
    for name, value in [*PRESETS[preset].settings.items(), *initial.items(), *given]:
        _assign(values, name, value)
    for name, _ in given:
        if name in initial or ".".join(name.split(".")[:2]) in initial:
            raise ConfigError(f"expected no setting that --init-from decides. Received: {name}")
    try:
        return PipelineConfig(
            data=data,
            root=root,
            init_digest=_checkpoint_digest(init_from) if init_from else "",
            ingest=IngestSettings(**values["ingest"]),
            train=TrainSettings(**values["train"]),
            evaluation=EvaluationConfig(**values["evaluation"]),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def initial_settings(folder: str) -> dict[str, Any]:
    """What the `model.json` of a training run or an import decides: the backbone, its options, its pixels.

    Raises:
      ConfigError: the folder holds no `model.json`.
    """
    path = os.path.join(folder, "model.json")
    if not os.path.exists(path):
        raise ConfigError(f"{path}: expected the folder of a training run or an import. Received: no such file")
    with open(path) as f:
        model = json.load(f)
    options = dict(model["options"])
    return {
        "train.init_from": os.path.abspath(folder),
        "train.backbone": model["backbone"],
        "train.norm": options.pop("norm", "batch"),
        "train.embedding_dim": options.pop("embedding_dim", model["embedding_dim"]),
        "train.backbone_options": options,
        "train.colour": model["pixel_format"]["colour"],
        "train.pixel_mean": model["pixel_format"]["mean"],
        "train.pixel_scale": model["pixel_format"]["scale"],
    }


def _checkpoint_digest(folder: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(glob.glob(os.path.join(folder, "checkpoint", "*"))):
        with open(path, "rb") as f:
            digest.update(hashlib.file_digest(f, "sha256").digest())
    return digest.hexdigest()[:16]


def _parse_override(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set expects section.name=value, e.g. train.steps=200. Received: {text!r}")
    return name.strip(), yaml.safe_load(value)


_SECTIONS: dict[str, type] = {"ingest": IngestSettings, "train": TrainSettings, "evaluation": EvaluationConfig}


def setting_names() -> list[str]:
    """All names that `--set` knows."""
    return [f"{section}.{f.name}" for section, kind in _SECTIONS.items() for f in dataclasses.fields(kind)]


def _assign(values: dict[str, dict[str, Any]], name: str, value: Any) -> None:
    """Puts a value where its dotted name says, converted to the field's type."""
    section, _, rest = name.partition(".")
    field, _, key = rest.partition(".")
    hints = typing.get_type_hints(_SECTIONS[section]) if section in _SECTIONS else {}
    if field not in hints:
        raise ConfigError(f"expected a setting of {setting_names()}. Received: {name!r}")
    kind = hints[field]
    if key:
        if typing.get_origin(kind) is not dict:
            raise ConfigError(f"{section}.{field} has no entries of its own. Received: {name!r}")
        defaults = {} if field in values[section] else getattr(_SECTIONS[section](), field)
        entry = _converted(name, typing.get_args(kind)[1], value)
        values[section][field] = {**defaults, **values[section].get(field, {}), key: entry}
    else:
        values[section][field] = _converted(name, kind, value)


def _converted(name: str, kind: Any, value: Any) -> Any:
    """The value in the field's type; YAML reads 1e-3 as text and 1 as an int."""
    origin = typing.get_origin(kind)
    try:
        if origin is tuple:
            return tuple(str(v).strip() for v in (str(value).split(",") if isinstance(value, str) else value))
        if origin is dict:
            entry = float if typing.get_args(kind)[1] is float else lambda v: v
            return {str(k): entry(v) for k, v in value.items()}
        if kind is Any:
            return value
        if origin is typing.Literal:
            return str(value)
        if kind is bool:
            if not isinstance(value, bool):
                raise ValueError
            return value
        if kind is int and (isinstance(value, bool) or float(value) != int(value)):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{name} expects a value of type {kind}. Received: {value!r}") from error
