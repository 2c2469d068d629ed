"""What the pods of a compiled pipeline get: the section `kubeflow` of the settings."""

import dataclasses
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from arcface_common.errors import ConfigError, did_you_mean
from arcface_common.setting import Number, Text, Whole, refuse_unused, section

ALL = "all"  # in place of a step's name: every step that is not named itself
# Names of nodes, as `create_pipeline` has them.
STEPS = (
    "DataDigest",
    "LatestBlessedModel",
    "RecordExampleGen",
    "PairExampleGen",
    "StatisticsGen",
    "ExampleSchema",
    "StatisticsSchema",
    "PairSchema",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "Exporter",
    "VerificationEvaluator",
    "Pusher",
)
_BY_STEP = ("cpu", "memory", "gpus", "shm", "scratch", "node_selector", "tolerations", "retries")
_OF_KUBERNETES = ("shm", "scratch", "node_selector", "tolerations", "secrets", "volumes", "notify", "run_as_user")
_TOLERATION = ("key", "operator", "value", "effect", "toleration_seconds")
_WORDS = {"operator": ("Exists", "Equal"), "effect": ("NoSchedule", "PreferNoSchedule", "NoExecute")}
_QUANTITY = re.compile(r"(?!0+(\.0+)?\D*$)\d+(\.\d+)?(Ki|Mi|Gi|Ti|K|M|G|T)?")  # above 0
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")  # of objects of Kubernetes


def _quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise ValueError("not as 500Mi or 16Gi")
    return text


Quantity = Annotated[Text, AfterValidator(_quantity)]


@section("kubeflow")
class KubeflowSettings:
    """What Kubernetes is asked for, by step; `all` stands for each step that isn't named beside it.

    Raises:
      ConfigError: no such step, or what Kubernetes would refuse.
    """

    cpu: dict[Text, Number] = Field(
        default_factory=dict, description="Processors of a step, requested and at most, as in {all: 2, Trainer: 8}."
    )
    memory: dict[Text, Quantity] = Field(
        default_factory=dict, description="Memory of a step, requested and at most, as in {all: 8Gi, Trainer: 64Gi}."
    )
    gpus: dict[Text, Whole] = Field(default_factory=dict, description="GPUs of a step, as in {Trainer: 8}.")
    gpu_type: Text = Field(
        default="nvidia.com/gpu",
        description="What a GPU is called: a resource of Kubernetes, or on Vertex a type such as NVIDIA_TESLA_A100.",
    )
    shm: dict[Text, Quantity] = Field(
        default_factory=dict, description="Size of /dev/shm of a step, as in {Trainer: 8Gi}; a pod has 64 MiB else."
    )
    node_selector: dict[Text, dict[Text, Text]] = Field(
        default_factory=dict, description="Labels of the nodes that a step may run on, as in {Trainer: {pool: gpu}}."
    )
    tolerations: dict[Text, list[dict[Text, Any]]] = Field(
        default_factory=dict,
        description="Taints that a step bears, as in {Trainer: [{key: nvidia.com/gpu, operator: Exists, effect: "
        "NoSchedule}]}.",
    )
    secrets: dict[Text, dict[Text, Text]] = Field(
        default_factory=dict,
        description="Secrets whose keys are variables of each step, as in {s3: {access: AWS_ACCESS_KEY_ID}}.",
    )
    volumes: dict[Text, Text] = Field(
        default_factory=dict, description="Persistent volume claims and where each step has them, as in {faces: /data}."
    )
    retries: dict[Text, Whole] = Field(
        default_factory=dict, description="How often a step that failed is tried again, as in {all: 2}."
    )
    scratch: dict[Text, Quantity] = Field(
        default_factory=dict,
        description="Size of a volume of its own as /work of a step, where alone it writes, as in {all: 20Gi}; a "
        "read-only root will do then.",
    )
    notify: Text = Field(
        default="",
        description="Variable out of kubeflow.secrets that holds an address to which a last step posts how the run "
        "ended, whatever happened; empty for no such step.",
    )
    run_as_user: Whole = Field(
        default=0,
        ge=0,
        description="Number of the user that steps run as, for KFP 2.16 and newer; 0 leaves it to the image (1000) and "
        "the cluster.",
    )

    def __post_init__(self) -> None:
        for name in _BY_STEP:
            for step in getattr(self, name):
                if step not in (*STEPS, ALL):
                    like = did_you_mean(step, (*STEPS, ALL))
                    raise ConfigError(f"kubeflow.{name}: expected {ALL} or a step. Received: {step!r}{like}")
        for name, least, most in (("cpu", 0.001, 10_000), ("gpus", 1, 1000), ("retries", 0, 100)):
            for step, value in getattr(self, name).items():
                if not least <= value <= most:
                    raise ConfigError(f"kubeflow.{name}.{step}: expected {least} to {most}. Received: {value}")
        for step, tolerations in self.tolerations.items():
            for field in {field for one in tolerations for field in one} - set(_TOLERATION):
                raise ConfigError(
                    f"kubeflow.tolerations.{step}: expected {', '.join(_TOLERATION)}. Received: {field!r}"
                )
            for field, known in _WORDS.items():
                for word in (one[field] for one in tolerations if field in one):
                    if word not in known:
                        expected = f"kubeflow.tolerations.{step}: expected {field} to be one of {', '.join(known)}"
                        raise ConfigError(f"{expected}. Received: {word!r}")
        for kind, names in (("secrets", self.secrets), ("volumes", self.volumes)):
            for name in names:
                if not _NAME.fullmatch(name):
                    raise ConfigError(f"kubeflow.{kind}: expected names as Kubernetes has them. Received: {name!r}")
        for name, keys in self.secrets.items():
            for variable in keys.values():
                if not _VARIABLE.fullmatch(variable):
                    raise ConfigError(f"kubeflow.secrets.{name}: expected names of variables. Received: {variable!r}")
        if self.notify and self.notify not in {one for keys in self.secrets.values() for one in keys.values()}:
            # Not what was received: it may be the address itself.
            raise ConfigError("kubeflow.notify: expected a variable of kubeflow.secrets. Received: another text")
        taken = ["/work"] if self.scratch else []
        for name, path in self.volumes.items():
            if not path.startswith("/") or path.rstrip("/") in ("", *taken):
                others = f", none of {', '.join(taken)}" if taken else ""
                raise ConfigError(
                    f"kubeflow.volumes.{name}: expected an absolute path below /{others}. Received: {path!r}"
                )
            taken.append(path.rstrip("/"))

    def refuse_on_vertex(self) -> None:
        """Refuses what only Kubernetes has.

        Raises:
          ConfigError: a setting that Vertex would ignore.
        """
        refuse_unused([(self, name, "on Vertex, whose steps are no pods") for name in _OF_KUBERNETES])

    def refuse_here(self) -> None:
        """Refuses what a run on this machine would ignore.

        Raises:
          ConfigError: any setting.
        """
        fields = [field.name for field in dataclasses.fields(self)]
        refuse_unused([(self, name, "without a cluster (compile, or run --engine kubeflow)") for name in fields])

    def of(self, name: str, step: str) -> Any:
        """A step's entry of a setting by step; None where it has none.

        Args:
          name: of the setting.
          step: of the pipeline.
        """
        entries = getattr(self, name)
        return entries.get(step, entries.get(ALL))
