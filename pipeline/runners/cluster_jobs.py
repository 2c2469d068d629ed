"""Manifests of a training by pods of their own: a TrainJob of Kubeflow Trainer v2, or a TFJob.

TFJob is legacy: the training operator that runs it gets fixes alone since Kubeflow Trainer v2 took its place.
"""

import dataclasses
from typing import Any, Literal

from arcface_common.errors import ConfigError, argument
from pipeline.config import PipelineConfig
from pipeline.kubeflow_settings import KubeflowSettings
from pipeline.kubernetes import SCRATCH, SHM, normal_path
from pipeline.runners.pods import cpu_quantity
from trainer_module.workers.cluster import HOPELESS, JOB_FILE, POD_ADDRESS

_PORT = 2222
_GRACE_S = 120  # for the step and the checkpoint after SIGTERM
_COMMAND = ["python", "-m", "trainer_module.workers.pod"]


_STEP = "Trainer"  # whose settings the pods have


@dataclasses.dataclass(frozen=True)
class ClusterJob:
    """How pods of their own train.

    Attributes:
      kind: what is submitted.
      image: of each pod, with this project installed.
      settings: what the pods get is what the section `kubeflow` says of the Trainer.
    """

    kind: Literal["trainjob", "tfjob"]
    image: str
    settings: KubeflowSettings

    def check(self, config: PipelineConfig) -> None:
        """Checks that the pods see the root, and find each other.

        Raises:
          ConfigError: a root on no volume, or workers that are told to join another's cluster.
        """
        root = f"{normal_path(config.root)}/"
        if not any(root.startswith(f"{path}/") for path in self.settings.volumes.values()):
            volumes = ", ".join(self.settings.volumes.values()) or "none is set, as kubeflow.volumes.CLAIM=/PATH"
            raise ConfigError(
                f"{argument('root')}: expected a folder of a volume ({volumes}), which all of a training's pods share. "
                f"Received: {config.root!r}"
            )
        if config.train.join_cluster:
            raise ConfigError(
                f"train.join_cluster: expected false with {argument('trainer', self.kind)}. Received: true"
            )

    def left_to_steps(self) -> KubeflowSettings:
        """What the steps of the pipeline get: that of the Trainer submits and waits, and needs no GPU."""
        own: dict[str, Any] = {
            name: {step: value for step, value in getattr(self.settings, name).items() if step != _STEP}
            for name in ("cpu", "memory", "gpus", "shm", "node_selector", "tolerations")
        }
        return dataclasses.replace(self.settings, **own)

    def manifest(self, config: PipelineConfig) -> dict[str, Any]:
        """What the Trainer's step submits, with `{job}` for the file that it writes."""
        return self._train_job(config) if self.kind == "trainjob" else self._tf_job(config)

    def applied_before(self, config: PipelineConfig) -> list[dict[str, Any]]:
        """What the cluster needs once, before a run: what the step's service account may do, and the runtime."""
        group, plural = ("trainer.kubeflow.org", "trainjobs") if self.kind == "trainjob" else ("kubeflow.org", "tfjobs")
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": f"{config.name}-trainer"},
            "rules": [
                {"apiGroups": [group], "resources": [plural], "verbs": ["create", "get", "delete"]},
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            ],
        }
        return [role, *([self._runtime(config)] if self.kind == "trainjob" else [])]

    def _train_job(self, config: PipelineConfig) -> dict[str, Any]:
        return {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "TrainJob",
            "metadata": {"name": config.name},
            "spec": {
                "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": config.name},
                "trainer": {
                    "image": self.image,
                    "command": _COMMAND,
                    "args": [JOB_FILE],
                    "numNodes": config.train.workers,
                    **({"resourcesPerNode": resources} if (resources := self._resources()) else {}),
                },
            },
        }

    def _runtime(self, config: PipelineConfig) -> dict[str, Any]:
        """Plain policy: Kubeflow Trainer has none for TensorFlow. One pod's end begins all of them again."""
        container = self._container("node")
        container["env"] += [
            _of_label("ARCFACE_TFX_TRAINJOB", "jobset.sigs.k8s.io/jobset-name"),
            # The names that JobSet's headless service gives to its pods.
            {"name": POD_ADDRESS, "value": f"$(ARCFACE_TFX_TRAINJOB)-node-0-{{index}}.$(ARCFACE_TFX_TRAINJOB):{_PORT}"},
        ]
        hopeless = {"containerName": "node", "operator": "In", "values": list(HOPELESS)}
        job = {
            "backoffLimit": 0,
            "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": hopeless}]},
            "template": {"spec": {"restartPolicy": "Never", **self._pod(container)}},
        }
        step = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
        replicated = {"name": "node", "template": {"metadata": {"labels": step}, "spec": job}}
        no_other_try = {"name": "hopeless", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
        return {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "TrainingRuntime",
            "metadata": {"name": config.name, "labels": {"trainer.kubeflow.org/framework": "tensorflow"}},
            "spec": {
                "mlPolicy": {"numNodes": config.train.workers},
                "template": {
                    "spec": {
                        "failurePolicy": {"maxRestarts": config.train.restarts, "rules": [no_other_try]},
                        "replicatedJobs": [replicated],
                    }
                },
            },
        }

    def _tf_job(self, config: PipelineConfig) -> dict[str, Any]:
        """Its operator sets TF_CONFIG, and begins again each pod whose exit code is 128 or more."""
        container = {
            **self._container("tensorflow"),
            "command": _COMMAND,
            "args": [JOB_FILE],
            "ports": [{"name": "tfjob-port", "containerPort": _PORT}],
            **({"resources": resources} if (resources := self._resources()) else {}),
        }
        workers = {
            "replicas": config.train.workers,
            "restartPolicy": "ExitCode",
            "template": {"spec": self._pod(container)},
        }
        return {
            "apiVersion": "kubeflow.org/v1",
            "kind": "TFJob",
            "metadata": {"name": config.name},
            "spec": {"runPolicy": {"cleanPodPolicy": "Running"}, "tfReplicaSpecs": {"Worker": workers}},
        }

    def _resources(self) -> dict[str, Any]:
        """What a pod requests, and has at most; nothing where nothing is set."""
        cpu, memory, gpus = (self.settings.of(name, _STEP) for name in ("cpu", "memory", "gpus"))
        limits = {
            **({"cpu": cpu_quantity(cpu)} if cpu else {}),
            **({"memory": memory} if memory else {}),
            **({self.settings.gpu_type: str(gpus)} if gpus else {}),
        }
        return {"limits": limits} if limits else {}

    def _container(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "image": self.image,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "env": [
                {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
                for secret, keys in self.settings.secrets.items()
                for key, variable in keys.items()
            ],
            "volumeMounts": [{"name": name, "mountPath": path} for name, path, _ in self._volumes()],
        }

    def _volumes(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Name, place and source of each volume of a pod."""
        found = [
            (f"claim-{number}", path, {"persistentVolumeClaim": {"claimName": claim}})
            for number, (claim, path) in enumerate(self.settings.volumes.items())
        ]
        for name, path, medium in (("shm", SHM, {"medium": "Memory"}), ("scratch", SCRATCH, {})):
            if size := self.settings.of(name, _STEP):
                found.append((name, path, {"emptyDir": {**medium, "sizeLimit": size}}))
        return found

    def _pod(self, container: dict[str, Any]) -> dict[str, Any]:
        """Of the Pod Security Standard "restricted"."""
        user = {"runAsUser": self.settings.run_as_user} if self.settings.run_as_user else {}
        tolerations = [
            {{"toleration_seconds": "tolerationSeconds"}.get(field, field): value for field, value in one.items()}
            for one in self.settings.of("tolerations", _STEP) or ()
        ]
        return {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, **user, "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": _GRACE_S,
            "containers": [container],
            "volumes": [{"name": name, **source} for name, _, source in self._volumes()],
            **({"nodeSelector": labels} if (labels := self.settings.of("node_selector", _STEP)) else {}),
            **({"tolerations": tolerations} if tolerations else {}),
        }


def _of_label(name: str, label: str) -> dict[str, Any]:
    """A variable of the environment that has the value of a label of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{label}']"}}}
