"""What the steps of a compiled pipeline get: by the pipeline spec, and by Kubernetes' own spec beside it."""

from typing import Any

from pipeline.kubeflow_settings import KubeflowSettings
from pipeline.kubernetes import SCRATCH, in_bytes
from pipeline.runners.notice import TASK as NOTICE

# Between tries: a node that was taken away is replaced in minutes.
_BACKOFF = {"backoffDuration": "60s", "backoffFactor": 2, "backoffMaxDuration": "1800s"}


def add_resources(spec: dict[str, Any], settings: KubeflowSettings) -> None:
    """Writes processors, memory, GPUs and retries into a pipeline spec, which both platforms read there.

    Args:
      spec: the pipeline spec; changed.
      settings: what the steps get.
    """
    components = spec["components"]
    dags = [spec["root"]["dag"], *(one["dag"] for one in components.values() if "dag" in one)]
    for step, task in [pair for dag in dags for pair in dag["tasks"].items()]:
        if "dag" in components[step]:  # of other steps, with the notice beside it
            continue
        if resources := _resources(settings, step):
            label = components[step]["executorLabel"]
            spec["deploymentSpec"]["executors"][label]["container"]["resources"] = resources
        if retries := settings.of("retries", step):
            task["retryPolicy"] = {"maxRetryCount": retries, **_BACKOFF}


def platform_spec(spec: dict[str, Any], settings: KubeflowSettings) -> dict[str, Any] | None:
    """Kubernetes' spec of the pods, a document beside the pipeline spec; None where there is nothing to say.

    Args:
      spec: the pipeline spec.
      settings: what the steps get.
    """
    labels = {step: one["executorLabel"] for step, one in spec["components"].items() if "executorLabel" in one}
    configs = {label: _pod(settings, step) for step, label in labels.items()}
    executors = {label: config for label, config in configs.items() if config}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}} if executors else None


def _resources(settings: KubeflowSettings, step: str) -> dict[str, Any]:
    """KFP's ResourceSpec, as its SDK has it: numbers for Vertex and older backends, texts for newer ones."""
    found: dict[str, Any] = {}
    if cpu := settings.of("cpu", step):
        for end in ("Limit", "Request"):
            found |= {f"cpu{end}": float(cpu), f"resourceCpu{end}": cpu_quantity(cpu)}
    if memory := settings.of("memory", step):
        for end in ("Limit", "Request"):
            found |= {f"memory{end}": in_bytes(memory) / 1e9, f"resourceMemory{end}": memory}
    if (gpus := settings.of("gpus", step)) and step != NOTICE:
        kind = settings.gpu_type
        found["accelerator"] = {"type": kind, "resourceType": kind, "count": str(gpus), "resourceCount": str(gpus)}
    return found


def cpu_quantity(processors: float) -> str:
    """As Kubernetes takes it: text, since a number must be whole in a schema of "int or string"."""
    return f"{processors:.3f}".rstrip("0").rstrip(".")


def _pod(settings: KubeflowSettings, step: str) -> dict[str, Any]:
    """KubernetesExecutorConfig of a step. A name stands as a parameter, too: newer backends read that.

    The notice gets its own secret alone, and no volume: it is to run when a claim can't be mounted.
    """
    found: dict[str, Any] = {}
    secrets, volumes = settings.secrets, settings.volumes
    if step == NOTICE:
        kept = {
            name: {key: one for key, one in keys.items() if one == settings.notify} for name, keys in secrets.items()
        }
        secrets, volumes = {name: keys for name, keys in kept.items() if keys}, {}
    if labels := settings.of("node_selector", step):
        found["nodeSelector"] = {"labels": labels}
    if tolerations := settings.of("tolerations", step):
        found["tolerations"] = tolerations
    if (size := settings.of("shm", step)) and step != NOTICE:
        found["enabledSharedMemory"] = {"volumeName": "shm", "size": size}
    if size := settings.of("scratch", step):
        found["emptyDirMounts"] = [{"volumeName": "work", "mountPath": SCRATCH, "sizeLimit": size}]
    if secrets:
        found["secretAsEnv"] = [
            {
                "secretName": name,
                "secretNameParameter": _constant(name),
                "keyToEnv": [{"secretKey": key, "envVar": variable} for key, variable in keys.items()],
                "optional": False,
            }
            for name, keys in secrets.items()
        ]
    if volumes:
        found["pvcMount"] = [
            {"constant": name, "pvcNameParameter": _constant(name), "mountPath": path} for name, path in volumes.items()
        ]
    if settings.run_as_user:
        found["securityContext"] = {"runAsUser": str(settings.run_as_user), "runAsNonRoot": True}
    return found


def _constant(value: str) -> dict[str, Any]:
    return {"runtimeValue": {"constant": value}}
