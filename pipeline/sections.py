"""The sections of a run's settings: what `--set`, a file of settings and `arcface-tfx settings` know."""

import re

from pydantic import Field

from arcface_common.errors import ConfigError, did_you_mean
from arcface_common.features import MAX_SET_MB, VERIFICATION_SETS
from arcface_common.protocol.conditions import Condition, Cut, parse_all, sets_of
from arcface_common.setting import Names, Number, Whole, require, section
from components.datasets.pair_facts import DEFAULT_HARD, MOST_PAIRS, UNIT
from components.record_example_gen.settings import IngestSettings
from pipeline.kubeflow_settings import KubeflowSettings
from trainer_module.settings import TrainSettings

_SET_NAME = re.compile(r"\w[\w.-]*")


@section("evaluation")
class EvaluationConfig:
    """What a model is judged by.

    Raises:
      ConfigError: a set that comes twice or is no file's name, a size that isn't positive, other folds, no condition,
        or one that cannot be read or is on a set that isn't evaluated.
    """

    sets: Names = Field(
        default=(),
        description="Verification sets, each a <set>.bin in the data set's folder, which must be there. None means "
        "those of the usual four that are there, and all that a condition names.",
    )
    conditions: Names = Field(
        default=("lfw.accuracy >= 0.95", "lfw.accuracy change >= 0"),
        description="What a model must fulfil to be pushed; at least one. Each is SET.FIGURE >= NUMBER or <= "
        "NUMBER, SET.accuracy change >= NUMBER, or SET.FIGURE gap COLUMN <= NUMBER; "
        "docs/how-to/gate.md says more.",
    )
    verify_pairs: Whole = Field(
        default=0,
        ge=0,
        le=MOST_PAIRS,
        description="Pairs of the set that ingest.verify_identities asks for, a multiple of 20. 0 draws as many as the "
        "images bear, at most 6,000.",
    )
    verify_hard: Number = Field(
        default=DEFAULT_HARD,
        ge=0,
        le=1,
        description="Share of that set's pairs of different people that are hard: each is the most alike of 100 by a "
        "thumbnail, no model asked.",
    )
    max_set_mb: Whole = Field(
        default=MAX_SET_MB,
        ge=1,
        description="MiB of images that a set may become. A file of 1 MB can name one image in a million pairs, "
        "each of which is written with its own.",
    )
    folds: Cut = Field(
        default="contiguous",
        description="How the ten folds are cut. Contiguous: in file order, as InsightFace does. Stratified: each "
        "kind of pairs by itself, for sets that are sorted by kind.",
    )

    def __post_init__(self) -> None:
        require(self, "verify_pairs", self.verify_pairs % UNIT == 0, f"a multiple of {UNIT}")
        if len(set(self.sets)) != len(self.sets):
            raise ConfigError(f"evaluation.sets must be different names. Received: sets={self.sets!r}")
        for name in self.sets:
            if not _SET_NAME.fullmatch(name):
                raise ConfigError(f"evaluation.sets must be names of <set>.bin files. Received: {name!r}")
        try:
            conditions = self.parsed_conditions
        except ValueError as error:
            raise ConfigError(f"evaluation.conditions: {error}") from error
        for name in sets_of(conditions):
            if not _SET_NAME.fullmatch(name):
                raise ConfigError(f"evaluation.conditions must name sets, each a <set>.bin. Received: {name!r}")
            if self.sets and name not in self.sets:
                strange = [
                    given for given in self.sets if given not in VERIFICATION_SETS and did_you_mean(given, [name])
                ]
                if strange:
                    raise ConfigError(f"evaluation.sets: did you mean {name!r}? Received: {strange[0]!r}")
                raise ConfigError(
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


SECTIONS: dict[str, type] = {
    "ingest": IngestSettings,
    "train": TrainSettings,
    "evaluation": EvaluationConfig,
    "kubeflow": KubeflowSettings,
}
