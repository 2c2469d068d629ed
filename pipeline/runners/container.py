"""The entry point of a step's container on Kubeflow: TFX's own, upon the folders where the launcher keeps artifacts.

Kubeflow's launcher downloads a step's inputs to /gcs, /s3 or /minio, and uploads its outputs from there. TFX reads and
writes the URIs themselves, and TensorFlow knows neither s3:// nor minio://. Where it made no folder, the URI stays.
Kubeflow's driver leaves the type of an input empty, which TFX reads there; the step's own spec has it.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

# Schemes and their folders (LocalPathForURI in backend/src/v2/component/launcher_v2.go).
_FOLDERS = {"gs": "gcs", "s3": "s3", "minio": "minio"}


def to_local(executor_input: dict[str, Any], base: str = "/") -> dict[str, str]:
    """Puts the launcher's folders in the place of URIs, for the inputs that are there and the outputs that can be.

    Args:
      executor_input: KFP's ExecutorInput, changed in place.
      base: the folder in which the launcher's folders lie.

    Returns:
      Local path -> the URI that it stands for.
    """
    uris = {}
    for artifact in _artifacts(executor_input):
        scheme, _, rest = artifact["uri"].partition("://")
        path = os.path.join(base, _FOLDERS.get(scheme, ""), rest)
        if scheme in _FOLDERS and os.path.isdir(os.path.dirname(path)):
            uris[path] = artifact["uri"]
            artifact["uri"] = path
    return uris


def add_types(executor_input: dict[str, Any], spec: dict[str, Any]) -> None:
    """Gives the inputs their types, which Kubeflow's driver leaves empty (metadata/client.go, `ToRuntimeArtifact`).

    Args:
      executor_input: KFP's ExecutorInput, changed in place.
      spec: the step's ComponentInputsSpec.
    """
    for name, many in executor_input.get("inputs", {}).get("artifacts", {}).items():
        for artifact in many.get("artifacts", []):
            if not any(artifact.get("type", {}).values()):
                artifact["type"] = spec["artifacts"][name]["artifactType"]


def to_uris(value: Any, uris: dict[str, str]) -> Any:
    """The same JSON value with URIs in the place of local paths, also in what a step says about its outputs."""
    if isinstance(value, dict):
        return {name: to_uris(each, uris) for name, each in value.items()}
    if isinstance(value, list):
        return [to_uris(each, uris) for each in value]
    if isinstance(value, str):
        for path, uri in uris.items():
            if value == path or value.startswith(f"{path}/"):
                return uri + value[len(path) :]
    return value


def _artifacts(executor_input: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for side in ("inputs", "outputs"):
        for many in executor_input.get(side, {}).get("artifacts", {}).values():
            yield from many.get("artifacts", [])


def main(base: str = "/") -> None:
    """Runs one step, as the command line says.

    Args:
      base: see `to_local`.
    """
    from tfx.dsl.io import fileio
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as tfx_entry_point

    def run(parsed: Any) -> None:
        args, _ = parsed
        executor_input = json.loads(args.json_serialized_invocation_args)
        add_types(executor_input, json.loads(args.json_serialized_inputs_spec_args or "{}"))
        uris = to_local(executor_input, base)
        args.json_serialized_invocation_args = json.dumps(executor_input)
        tfx_entry_point.main(parsed)
        output_file = executor_input["outputs"]["outputFile"]
        if uris:
            with fileio.open(output_file) as file:
                output = to_uris(json.loads(file.read()), uris)
            with fileio.open(output_file, "w") as file:
                file.write(json.dumps(output))

    tfx_entry_point.app.run(run, flags_parser=tfx_entry_point._parse_flags)


if __name__ == "__main__":
    main()
