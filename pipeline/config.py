"""The pipeline's configuration: typed, validated, with presets and `--set name=value`.

Imports no TensorFlow, so that `--help` and a wrong flag are answered at once.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from arcface_common.artifacts import IDENTITIES_FILE, METADATA_FILE
from arcface_common.bounded_file import check_size
from arcface_common.console import say
from arcface_common.errors import ConfigError, DataError, argument
from arcface_common.features import VERIFY_SPLIT
from arcface_common.filesystem import exists, files_below
from arcface_common.model_metadata import ModelMetadata
from arcface_common.paths import check_regular
from arcface_common.setting import refuse_unused, require
from components.record_example_gen.settings import IngestSettings
from pipeline.beam import beam_args
from pipeline.checks.places import check_places
from pipeline.checks.secrets import refuse_secret_path
from pipeline.config_file import ConfigFile
from pipeline.kubeflow_settings import KubeflowSettings
from pipeline.layers import Layer, assigned, rescaled, with_origin
from pipeline.overrides import assign, parse_override
from pipeline.presets import choose_preset, preset_file
from pipeline.sections import SECTIONS, EvaluationConfig
from serving.published import how_to_import
from trainer_module.identities import MAX_LABELS_BYTES, read_identities
from trainer_module.settings import TrainSettings

if TYPE_CHECKING:  # numpy, 0.1 s
    from components.datasets.kept_out import KeepOut

# Of a run that is judged by the set that it draws, where nobody says otherwise.
_OF_DRAWN = (f"{VERIFY_SPLIT}.accuracy >= 0.95", f"{VERIFY_SPLIT}.accuracy change >= 0")


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
      kubeflow: see KubeflowSettings; a run on this machine has none of it.
      preset: name of the preset that the settings came from, for the run's record; "" for none.
      init_digest: digest of checkpoint and labels in `train.init_from`: it stands for that folder in the cache key.
      beam_args: Beam's options, see `beam`. They are part of a node's cache key: another spelling re-runs it.
    """

    data: str
    root: str
    name: str = "arcface"
    ingest: IngestSettings = dataclasses.field(default_factory=IngestSettings)
    train: TrainSettings = dataclasses.field(default_factory=TrainSettings)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    kubeflow: KubeflowSettings = dataclasses.field(default_factory=KubeflowSettings)
    preset: str = ""
    init_digest: str = ""
    beam_args: tuple[str, ...] = beam_args()

    def __post_init__(self) -> None:
        why, others = "with ingest.holdout=0", "with ingest.verify_identities=0"
        refuse_unused(
            [
                *([] if self.ingest.holdout else [(self.train, "holdout_every", why)]),
                *(
                    (self.evaluation, name, others)
                    for name in ("verify_pairs", "verify_hard")
                    if not self.ingest.verify_identities
                ),
            ]
        )
        strange = [name for name in self.train.verify_sets if name not in self.evaluated_sets]
        if strange:
            raise ConfigError(
                f"train.verify_sets must name sets that are evaluated, {', '.join(self.evaluated_sets)}; "
                f"evaluation.sets names others. Received: {strange[0]!r}"
            )

    @property
    def drawn(self) -> "KeepOut | None":
        """The set that is drawn of identities which are kept out of training, if it is asked for."""
        if not self.ingest.verify_identities:
            return None
        from components.datasets.kept_out import KeepOut

        return KeepOut(
            self.ingest.verify_identities,
            pairs=self.evaluation.verify_pairs or None,
            hard=self.evaluation.verify_hard,
            seed=self.ingest.seed,
            name=VERIFY_SPLIT,
            pairs_setting="evaluation.verify_pairs",
        )

    @property
    def set_files(self) -> tuple[str, ...]:
        """The evaluated sets that are files, each a `<set>.bin`."""
        return tuple(name for name in self.evaluation.evaluated_sets if not (self.drawn and name == self.drawn.name))

    @property
    def evaluated_sets(self) -> tuple[str, ...]:
        """All sets that are evaluated; the one that is drawn comes last."""
        return (*self.set_files, *([self.drawn.name] if self.drawn else []))

    @property
    def serving_dir(self) -> str:
        """Where versions of the model are pushed to."""
        return os.path.join(self.root, "serving", "arcface")

    @property
    def blessed_dir(self) -> str:
        """Where the records of blessed models lie."""
        return os.path.join(self.root, "blessed")

    @property
    def pipeline_root(self) -> str:
        """Where the nodes' outputs lie."""
        return os.path.join(self.root, "pipeline")

    @property
    def work_dir(self) -> str:
        """Folder of the ExampleGens that outlives a run: digests, and finished shards of an interrupted ingest."""
        return os.path.join(self.root, "ingest")

    @property
    def training_dir(self) -> str:
        """Folder of the Trainer that outlives a run: what a training that was stopped goes on from."""
        return os.path.join(self.root, "training")

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
    file: ConfigFile | None = None,
) -> PipelineConfig:
    """A configuration from a preset, a file and the command line's overrides: the later go before.

    Args:
      data: folder of the data set.
      root: folder of everything the pipeline writes.
      preset: a name in PRESETS, or None: then it is `finetune` where training starts from a backbone, none where
        `train.backbone` is given, and an error elsewhere.
      overrides: "section.name=value" each, the value as YAML; a dict's entry is "section.name.key=value".
      init_from: folder of a training run or an import to start from; it decides the backbone and its pixels. The
        override `train.init_from` is the same.
      here: the pipeline runs on this machine; else paths are those of the machines that it is compiled for, and a
        folder that `train.init_from` names is not looked into.
      file: settings of a file.

    Returns:
      The configuration.

    Raises:
      ConfigError: an unknown preset or setting, or a value that is not allowed; names it.
      DataError: a path that TFX would take for a pattern.
    """
    for name, path in (("data", data), ("root", root), ("init_from", init_from or "")):
        refuse_secret_path(argument(name), path)
    check_places(data, root, here)
    if here and os.path.exists(root) and not os.path.isdir(root):
        raise DataError(
            f"{argument('root', root)}: expected a folder, or a path where nothing is yet. Received: a file"
        )
    above = [Layer(file.path, _parsed(file.overrides))] if file else []
    above.append(Layer("", _parsed(overrides)))
    assigned(above, {})  # an unknown setting is named before a preset is asked for
    start = _one_init_from(init_from, [entry for layer in above for entry in layer.given])
    if here:  # elsewhere it is a setting like the others
        above = [Layer(one.origin, [entry for entry in one.given if entry[0] != "train.init_from"]) for one in above]
    named = dict(entry for layer in above for entry in layer.given)
    chosen = choose_preset(
        preset or (file.preset if file else None),
        starts_from_a_backbone=bool(start),
        names_a_backbone="train.backbone" in named,
    )
    usual = ConfigFile.read(preset_file(chosen)).overrides if chosen else ()
    layers = [Layer(f"the preset {chosen}", _parsed(usual)), *above]
    initial = initial_settings(start) if start and here else {}
    values = assigned(layers, initial)
    for field, (value, origin) in rescaled(layers, values["train"].get("steps")).items():
        values["train"][field] = value
        if file and origin == file.path:
            say(f"train.{field}={json.dumps(value)}: the share of train.steps that {origin} has")
    try:
        config = PipelineConfig(
            data=data,
            root=root,
            preset=chosen,
            init_digest=_checkpoint_digest(start) if start and here else "",
            ingest=IngestSettings(**values["ingest"]),
            train=TrainSettings(**values["train"]),
            evaluation=EvaluationConfig(**values["evaluation"]),
            kubeflow=KubeflowSettings(**values["kubeflow"]),
        )
        if here:
            config.kubeflow.refuse_here()
        if initial:
            _check_start(config.train, initial["embedding_dim"])
    except ConfigError as error:
        if (told := with_origin(error, layers)) is error:
            raise
        raise told from error
    said = any(name.startswith(("evaluation.conditions", "evaluation.sets")) for name in named)
    return config if said or not here else _judged_by_what_is_there(config)


def _parsed(overrides: Iterable[str]) -> list[tuple[str, str]]:
    return [parse_override(text) for text in overrides]


def _judged_by_what_is_there(config: PipelineConfig) -> PipelineConfig:
    """The configuration, judged by the set that is drawn where one is missing that the usual conditions are on."""
    sets = config.evaluation.required_sets
    if not config.drawn or all(exists(os.path.join(config.data, f"{name}.bin")) for name in sets):
        return config
    return dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, conditions=_OF_DRAWN))


def _one_init_from(init_from: str | None, given: Iterable[tuple[str, str]]) -> str | None:
    """Takes `--init-from` and `--set train.init_from` for the same."""
    asked: dict[str, dict[str, Any]] = {"train": {}}
    for name, text in given:
        if name == "train.init_from":
            refuse_secret_path(name, text)
            assign(asked, SECTIONS, name, text, written=True)
    folder = TrainSettings(**asked["train"]).init_from
    if init_from and folder:
        raise ConfigError(
            f"expected no setting that {argument('init_from')} decides. Received: train.init_from={folder}"
        )
    return init_from or folder


def initial_settings(folder: str) -> dict[str, Any]:
    """What the `model.json` of a training run or an import decides: fields of `train`.

    Raises:
      ConfigError: the file's values are no such settings.
      DataError: the folder holds no `model.json`, or a broken one.
    """
    path = os.path.join(folder, METADATA_FILE)
    if not os.path.exists(path):
        raise ConfigError(
            f"{path}: expected the folder of a training run, as ROOT/pipeline/Trainer/model_run/NUMBER, or an import. "
            f"Received: no such file{how_to_import(folder)}"
        )
    model = ModelMetadata.read(folder)
    options = dict(model.options)
    decided = {
        "init_from": os.path.abspath(folder),
        "backbone": model.backbone,
        "norm": options.pop("norm", "batch"),
        "embedding_dim": options.pop("embedding_dim", model.embedding_dim),
        "backbone_options": options,
        "colour": model.pixel_format.colour,
        "pixel_mean": model.pixel_format.mean,
        "pixel_scale": model.pixel_format.scale,
    }
    try:
        TrainSettings(**decided)
    except ConfigError as error:
        raise ConfigError(f"{folder}: expected the model.json of a training run: {error}") from error
    return decided


def _check_start(train: TrainSettings, embedding_dim: int) -> None:
    """Checks what only a look into the folder of `train.init_from` tells.

    Args:
      train: the settings of the training.
      embedding_dim: of what it starts from.

    Raises:
      ConfigError: there are no class centres that could be kept, or another embedding is asked for and nothing trained.
      DataError: the labels of the class centres are damaged.
    """
    same = train.embedding_dim == embedding_dim
    require(train, "embedding_dim", same or bool(train.steps), f"{embedding_dim}, as trained, with train.steps=0")
    require(train, "frozen_statistics", same or not train.frozen_statistics, "false with a new output layer")
    if train.init_centres == "kept":
        labels = os.path.join(train.init_from, IDENTITIES_FILE)
        labelled = os.path.exists(labels)
        require(train, "init_centres", same, f"another with other dimensions than its {embedding_dim}")
        require(train, "init_centres", labelled, f"another, since {train.init_from} has no {IDENTITIES_FILE}")
        read_identities(labels)


def _checkpoint_digest(folder: str) -> str:
    """Digest of a checkpoint's files, and of the labels of its class centres.

    Raises:
      ConfigError: there is none.
      DataError: a pipe, say, in a file's place, or labels that are too large.
    """
    checkpoint = os.path.join(folder, "checkpoint")
    files = files_below(checkpoint)
    if not files:
        raise ConfigError(f"{checkpoint}: expected the checkpoint of a training run or an import. Received: no files")
    labels = os.path.join(folder, IDENTITIES_FILE)
    if labelled := os.path.exists(labels):
        check_size(labels, MAX_LABELS_BYTES, "MAX_LABELS_BYTES")
    digest = hashlib.sha256()
    for path in (*files, *([labels] if labelled else [])):
        check_regular(path)
        with open(path, "rb") as f:
            digest.update(hashlib.file_digest(f, "sha256").digest())
    return digest.hexdigest()[:16]
