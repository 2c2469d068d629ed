"""The pipeline's configuration: typed, validated, with presets and `--set name=value`.

Imports no TensorFlow, so that `--help` and a wrong flag are answered at once.
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterable
from typing import Any

from arcface_common.artifacts import METADATA_FILE
from arcface_common.errors import DataError, did_you_mean, parse_json_object
from arcface_common.features import MAX_SET_MB, VERIFICATION_SETS
from arcface_common.filesystem import files_below
from arcface_common.setting import check_settings, setting
from components.record_example_gen.settings import IngestSettings
from evaluator_custom.protocol.conditions import Condition, Cut, parse_all, sets_of
from pipeline.beam_runners import beam_args
from pipeline.overrides import ConfigError, assign, parse_override
from pipeline.places import check_places
from pipeline.presets import choose_preset
from pipeline.secrets import refuse_secret_path
from trainer_module.settings import TrainSettings

_SET_NAME = re.compile(r"\w[\w.-]*")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What a model is judged by.

    Raises:
      ValueError: a set that comes twice or is no file's name, a size that isn't positive, other folds, no condition, or
        one that cannot be read or is on a set that isn't evaluated.
    """

    sets: tuple[str, ...] = setting(
        (),
        "Verification sets, each a <set>.bin in the data set's folder, which must be there. None means those of the "
        "usual four that are there, and all that a condition names.",
    )
    conditions: tuple[str, ...] = setting(
        ("lfw.accuracy >= 0.95", "lfw.accuracy change >= 0"),
        "What a model must fulfil to be pushed; at least one. Each is SET.FIGURE >= NUMBER or <= NUMBER, "
        "SET.accuracy change >= NUMBER, or SET.FIGURE gap COLUMN <= NUMBER; the README says more.",
    )
    max_set_mb: int = setting(
        MAX_SET_MB,
        "MiB of images that a set may become. A file of 1 MB can name one image in a million pairs, each of which is "
        "written with its own.",
        low=1,
    )
    folds: Cut = setting(
        "contiguous",
        "How the ten folds are cut. Contiguous: in file order, as InsightFace does. Stratified: each kind of pairs by "
        "itself, for sets that are sorted by kind.",
    )

    def __post_init__(self) -> None:
        check_settings("evaluation", self)
        if len(set(self.sets)) != len(self.sets):
            raise ValueError(f"evaluation.sets must be different names. Received: sets={self.sets!r}")
        for name in self.sets:
            if not _SET_NAME.fullmatch(name):
                raise ValueError(f"evaluation.sets must be names of <set>.bin files. Received: {name!r}")
        try:
            conditions = self.parsed_conditions
        except ValueError as error:
            raise ValueError(f"evaluation.conditions: {error}") from error
        for name in sets_of(conditions):
            if not _SET_NAME.fullmatch(name):
                raise ValueError(f"evaluation.conditions must name sets, each a <set>.bin. Received: {name!r}")
            if self.sets and name not in self.sets:
                strange = [
                    given for given in self.sets if given not in VERIFICATION_SETS and did_you_mean(given, [name])
                ]
                if strange:
                    raise ValueError(f"evaluation.sets: did you mean {name!r}? Received: {strange[0]!r}")
                raise ValueError(
                    f"evaluation.conditions must name sets of evaluation.sets={self.sets}; give both. "
                    f"Received: {name!r}"
                )

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
      init_digest: digest of the checkpoint that `train.init_from` names: it stands for that folder in the cache key.
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


def make_config(
    data: str,
    root: str,
    preset: str | None,
    overrides: Iterable[str] = (),
    init_from: str | None = None,
    *,
    here: bool = True,
) -> PipelineConfig:
    """A configuration from a preset and the command line's overrides.

    Args:
      data: folder of the data set.
      root: folder of everything the pipeline writes.
      preset: a name in PRESETS; None takes `finetune` where training starts from a backbone, and is an error elsewhere.
      overrides: "section.name=value" each, the value as YAML; a dict's entry is "section.name.key=value".
      init_from: folder of a training run or an import to start from; it decides the backbone and its pixels. The
        override `train.init_from` is the same.
      here: the pipeline runs on this machine; else paths are those of the machines that it is compiled for, and a
        folder that `train.init_from` names is not looked into.

    Returns:
      The configuration.

    Raises:
      ConfigError: an unknown preset or setting, or a value that is not allowed; names it.
      DataError: a path that TFX would take for a pattern.
    """
    for flag, path in (("--data", data), ("--root", root)):
        refuse_secret_path(flag, path)
    check_places(data, root, here)
    if here and os.path.exists(root) and not os.path.isdir(root):
        raise DataError(f"--root {root}: expected a folder, or a path where nothing is yet. Received: a file")
    given = [parse_override(text) for text in overrides]
    start, others = _one_init_from(init_from, given)
    chosen = choose_preset(preset, bool(start))
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, value in chosen.settings.items():
        assign(values, SECTIONS, name, value)
    initial = initial_settings(start) if start and here else {}
    for name, value in initial.items():
        try:
            assign(values, SECTIONS, name, value)
        except ConfigError as error:
            raise ConfigError(f"{start}: expected the model.json of a training run: {error}") from error
    named = others if here else given
    for name, text in named:
        assign(values, SECTIONS, name, text, written=True)
    for name, _ in named:
        section, field = name.split(".")[:2]
        decided = initial.get(f"{section}.{field}")
        if f"{section}.{field}" in initial and values[section][field] != decided:
            raise ConfigError(f"expected no setting that --init-from decides. Received: {name}")
    for name, steps in chosen.shared_steps(values["train"]["steps"]).items():
        if name not in dict(named):
            assign(values, SECTIONS, name, steps)
    try:
        return PipelineConfig(
            data=data,
            root=root,
            init_digest=_checkpoint_digest(start) if start and here else "",
            ingest=IngestSettings(**values["ingest"]),
            train=TrainSettings(**values["train"]),
            evaluation=EvaluationConfig(**values["evaluation"]),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _one_init_from(init_from: str | None, given: list[tuple[str, str]]) -> tuple[str | None, list[tuple[str, str]]]:
    """Takes `--init-from` and `--set train.init_from` for the same, and that setting out of those that were given."""
    asked: dict[str, dict[str, Any]] = {"train": {}}
    for name, text in given:
        if name == "train.init_from":
            assign(asked, SECTIONS, name, text, written=True)
    folder = asked["train"].get("init_from")
    if init_from and folder:
        raise ConfigError(f"expected no setting that --init-from decides. Received: train.init_from={folder}")
    return init_from or folder, [entry for entry in given if entry[0] != "train.init_from"]


def initial_settings(folder: str) -> dict[str, Any]:
    """What the `model.json` of a training run or an import decides: the backbone, its options, its pixels.

    Raises:
      DataError: the folder holds no `model.json`, or a broken one.
    """
    path = os.path.join(folder, METADATA_FILE)
    if not os.path.isfile(path):
        raise ConfigError(f"{path}: expected the folder of a training run or an import. Received: no such file")
    with open(path, encoding="utf-8", errors="replace") as f:
        model = parse_json_object(f.read(), path)
    try:
        options, pixels = dict(model["options"]), dict(model["pixel_format"])
        return {
            "train.init_from": os.path.abspath(folder),
            "train.backbone": model["backbone"],
            "train.norm": options.pop("norm", "batch"),
            "train.embedding_dim": options.pop("embedding_dim", model["embedding_dim"]),
            "train.backbone_options": options,
            "train.colour": pixels["colour"],
            "train.pixel_mean": pixels["mean"],
            "train.pixel_scale": pixels["scale"],
        }
    except KeyError as error:
        raise DataError(f"{path}: expected an entry {error}. Received: none") from error
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: expected objects as options and pixel_format. Received: {error}") from error


def _checkpoint_digest(folder: str) -> str:
    """Digest of a checkpoint's files.

    Raises:
      ConfigError: there is none.
    """
    checkpoint = os.path.join(folder, "checkpoint")
    files = files_below(checkpoint)
    if not files:
        raise ConfigError(f"{checkpoint}: expected the checkpoint of a training run or an import. Received: no files")
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as f:
            digest.update(hashlib.file_digest(f, "sha256").digest())
    return digest.hexdigest()[:16]


# Section -> the settings that `--set` knows in it.
SECTIONS: dict[str, type] = {"ingest": IngestSettings, "train": TrainSettings, "evaluation": EvaluationConfig}
