"""What the pods of a compiled pipeline get: the section `kubeflow` of the settings."""

import dataclasses
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from arcface_common.errors import ConfigError, did_you_mean
from arcface_common.setting import Number, Text, Whole, refuse_unused, section
from pipeline.kubernetes import (
    SCRATCH,
    SHM,
    check_labels,
    check_mounts,
    check_toleration,
    in_bytes,
    is_object_name,
    is_qualified_name,
    is_secret_key,
    normal_path,
)

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
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What the image sets (Dockerfile), Kubernetes, Kubeflow and its operators in each pod, and this project.
_SET_ALREADY = re.compile(
    r"(PATH|HOME|TMPDIR|USER|JOB_COMPLETION_INDEX)|"
    r"TF_(CONFIG|FORCE_GPU_ALLOW_GROWTH|ENABLE_ONEDNN_OPTS|USE_LEGACY_KERAS)|"
    r"(PYTHON|ARCFACE_TFX_|PET_|KFP_|KUBEFLOW_|KUBERNETES_).*"
)


def _quantity(text: str) -> str:
    in_bytes(text)
    return text


Quantity = Annotated[Text, AfterValidator(_quantity)]
Place = Annotated[Text, AfterValidator(normal_path)]


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
    volumes: dict[Text, Place] = Field(
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
        for step, processors in self.cpu.items():
            if processors != round(processors, 3):  # Kubernetes has none finer
                expected = "expected thousandths of a processor"
                raise ConfigError(f"kubeflow.cpu.{step}: {expected}. Received: {processors}")
        if not is_qualified_name(self.gpu_type):
            expected = "expected a name such as nvidia.com/gpu or NVIDIA_TESLA_A100"
            raise ConfigError(f"kubeflow.gpu_type: {expected}. Received: {self.gpu_type!r}")
        for step, labels in self.node_selector.items():
            check_labels(f"kubeflow.node_selector.{step}", labels)
        for step, tolerations in self.tolerations.items():
            for toleration in tolerations:
                check_toleration(f"kubeflow.tolerations.{step}", toleration)
        for kind, names in (("secrets", self.secrets), ("volumes", self.volumes)):
            for name in names:
                if not is_object_name(name):
                    raise ConfigError(f"kubeflow.{kind}: expected names as Kubernetes has them. Received: {name!r}")
        self._check_secrets()
        taken = [*([SCRATCH] if self.scratch else []), *([SHM] if self.shm else [])]
        check_mounts("kubeflow.volumes", self.volumes, taken)

    def _check_secrets(self) -> None:
        """Refuses keys that no secret has, and variables that can't be theirs."""
        seen = set[str]()
        for name, keys in self.secrets.items():
            setting = f"kubeflow.secrets.{name}"
            if not keys:
                raise ConfigError(f"{setting}: expected a key and its variable. Received: {{}}")
            for key, variable in keys.items():
                for holds, expected, received in (
                    (is_secret_key(key), "keys as secrets have them", key),
                    (_VARIABLE.fullmatch(variable), "names of variables", variable),
                    (not _SET_ALREADY.fullmatch(variable), "no variable that image or job sets", variable),
                    (variable not in seen, "each variable once", variable),
                ):
                    if not holds:
                        raise ConfigError(f"{setting}: expected {expected}. Received: {received!r}")
                seen.add(variable)
        if self.notify and self.notify not in seen:
            # Not what was received: it may be the address itself.
            raise ConfigError("kubeflow.notify: expected a variable of kubeflow.secrets. Received: another text")

    def refuse_on_vertex(self) -> None:
        """Refuses what only Kubernetes has.

        Raises:
          ConfigError: a setting that Vertex would ignore, or a GPU by a name that it hasn't.
        """
        refuse_unused([(self, name, "on Vertex, whose steps are no pods") for name in _OF_KUBERNETES])
        if self.gpus and "/" in self.gpu_type:
            expected = "expected a type of Vertex with kubeflow.gpus, such as NVIDIA_TESLA_A100"
            raise ConfigError(f"kubeflow.gpu_type: {expected}. Received: {self.gpu_type!r}")

    def refuse_on_kubernetes(self) -> None:
        """Refuses what only Vertex has.

        Raises:
          ConfigError: a GPU by a name without a domain, which Kubernetes refuses in a pod.
        """
        if self.gpus and "/" not in self.gpu_type:
            expected = "expected a resource of Kubernetes with kubeflow.gpus, such as nvidia.com/gpu"
            raise ConfigError(f"kubeflow.gpu_type: {expected}. Received: {self.gpu_type!r}")

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
