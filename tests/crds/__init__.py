"""Whether Kubernetes would take a manifest: by the schemas of Kubeflow's own custom resource definitions.

`trainjobs.json` and `trainingruntimes.json` are what `extract` leaves of kubeflow/trainer, manifests/base/crds, commit
8c0f5059b (2026-08-21); `tfjobs.json` is of kubeflow/training-operator, manifests/base/crds, commit 07a4a8969, with the
former's pod (both Apache-2.0). Not looked at: rules in CEL, and metadata, which the API server knows without them.
"""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema

KINDS = ("trainjobs", "trainingruntimes", "tfjobs")


@functools.cache
def definition(plural: str) -> dict[str, Any]:
    """What the extract says: group, version, kind, plural and schema."""
    content: dict[str, Any] = json.loads(Path(__file__).with_name(f"{plural}.json").read_text())
    return content


def refusals(plural: str, manifest: dict[str, Any], part: str = "") -> list[str]:
    """What an API server with strict fields would say against a manifest; nothing if it takes it.

    Args:
      plural: of the kind, a name in `KINDS`.
      manifest: the object, or a part of it.
      part: a property of the object that `manifest` is.
    """
    schema = definition(plural)["schema"]["openAPIV3Schema"]
    checked = jsonschema.Draft202012Validator(_strict(schema["properties"][part] if part else schema))
    said = [f"{error.json_path}: {error.message}" for error in checked.iter_errors(manifest)]
    if not part:
        known = definition(plural)
        for name, value in (("apiVersion", f"{known['group']}/{known['version']}"), ("kind", known["kind"])):
            if manifest.get(name) != value:
                said.append(f"$.{name}: expected {value}, got {manifest.get(name)}")
    return said


def _strict(schema: Any) -> Any:
    """The schema, with fields refused that it doesn't name."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict
