"""What the steps of a compiled pipeline get: by the pipeline spec, and by Kubernetes' own spec beside it."""

from typing import Any

from pipeline.kubeflow_settings import KubeflowSettings

_GIGABYTES = {"": 1e-9, "K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3}
_GIBIBYTES = {"Ki": 2**10 / 1e9, "Mi": 2**20 / 1e9, "Gi": 2**30 / 1e9, "Ti": 2**40 / 1e9}
# Between tries: a node that was taken away is replaced in minutes.
_BACKOFF = {"backoffDuration": "60s", "backoffFactor": 2, "backoffMaxDuration": "1800s"}


def add_resources(spec: dict[str, Any], settings: KubeflowSettings) -> None:
    """Writes processors, memory, GPUs and retries into a pipeline spec, which both platforms read there.

    Args:
      spec: the pipeline spec; changed.
      settings: what the steps get.
    """
    for step, task in spec["root"]["dag"]["tasks"].items():
        if resources := _resources(settings, step):
            label = spec["components"][step]["executorLabel"]
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
            found |= {f"cpu{end}": float(cpu), f"resourceCpu{end}": f"{cpu:g}"}
    if memory := settings.of("memory", step):
        for end in ("Limit", "Request"):
            found |= {f"memory{end}": gigabytes(memory), f"resourceMemory{end}": memory}
    if gpus := settings.of("gpus", step):
        kind = settings.gpu_type
        found["accelerator"] = {"type": kind, "resourceType": kind, "count": str(gpus), "resourceCount": str(gpus)}
    return found


def gigabytes(quantity: str) -> float:
    """Of a quantity of Kubernetes, e.g. 1.073741824 of "1Gi"."""
    unit = quantity.lstrip("0123456789.")
    return float(quantity.removesuffix(unit)) * {**_GIGABYTES, **_GIBIBYTES}[unit]


def _pod(settings: KubeflowSettings, step: str) -> dict[str, Any]:
    """KubernetesExecutorConfig of a step. A name stands as a parameter, too: newer backends read that."""
    found: dict[str, Any] = {}
    if labels := settings.of("node_selector", step):
        found["nodeSelector"] = {"labels": labels}
    if tolerations := settings.of("tolerations", step):
        found["tolerations"] = tolerations
    if size := settings.of("shm", step):
        found["enabledSharedMemory"] = {"volumeName": "shm", "size": size}
    if size := settings.of("scratch", step):
        found["emptyDirMounts"] = [{"volumeName": "work", "mountPath": "/work", "sizeLimit": size}]
    if settings.secrets:
        found["secretAsEnv"] = [
            {
                "secretName": name,
                "secretNameParameter": _constant(name),
                "keyToEnv": [{"secretKey": key, "envVar": variable} for key, variable in keys.items()],
                "optional": False,
            }
            for name, keys in settings.secrets.items()
        ]
    if settings.volumes:
        found["pvcMount"] = [
            {"constant": name, "pvcNameParameter": _constant(name), "mountPath": path}
            for name, path in settings.volumes.items()
        ]
    if settings.run_as_user:
        found["securityContext"] = {"runAsUser": str(settings.run_as_user), "runAsNonRoot": True}
    return found


def _constant(value: str) -> dict[str, Any]:
    return {"runtimeValue": {"constant": value}}
