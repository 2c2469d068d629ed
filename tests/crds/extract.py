"""Cuts custom resource definitions down to what the tests look at: `python -m tests.crds.extract CRD.yaml OUT.json`.

What is left out are words and the parts of a pod that no manifest of ours has: a manifest that had one would be refused
by `tests.crds`, as one with an unknown field is.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

_LEFT_OUT = {
    *("affinity", "ephemeralContainers", "initContainers", "livenessProbe", "readinessProbe", "startupProbe"),
    *("lifecycle", "topologySpreadConstraints", "volumeClaimPolicies", "runtimePatches", "initializer"),
    *("torch", "mpi", "xgboost", "flux", "podGroupPolicy", "schedulingGates", "resourceClaims", "volumeDevices"),
    *("hostAliases", "dnsConfig", "readinessGates", "windowsOptions", "seLinuxOptions", "envFrom", "workloadRef"),
}
_VOLUMES = {"name", "persistentVolumeClaim", "emptyDir"}


def cut(schema: Any) -> Any:
    """A schema without what is left out."""
    if isinstance(schema, list):
        return [cut(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: cut(value) for key, value in schema.items() if not (key == "description" and isinstance(value, str))}
    properties = kept.get("properties", {})
    for name in _LEFT_OUT & set(properties):
        del properties[name]
    if "persistentVolumeClaim" in properties:
        kept["properties"] = {name: value for name, value in properties.items() if name in _VOLUMES}
    return kept


def extract(text: str) -> dict[str, Any]:
    """Of a CustomResourceDefinition as YAML, what `tests.crds` reads."""
    spec = yaml.safe_load(text)["spec"]
    (version,) = spec["versions"]
    names = {key: spec["names"][key] for key in ("kind", "plural")}
    return {"group": spec["group"], "version": version["name"], **names, "schema": cut(version["schema"])}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(extract(Path(sys.argv[1]).read_text()), sort_keys=True, indent=1) + "\n")
