"""A pipeline run by Kubeflow Pipelines' own compiler, driver and launcher, of version 2.0.5 (see `kfp_tools`).

What stands in: Argo's controller, in whose place the workflow's tasks run one after the other; Kubernetes, in whose
place a pod is a mount namespace with this host's files, its own /tmp, /run and /work and nothing else at the root;
images, in whose place stand this environment and the Dockerfile's variables. The services are those of `kfp_services`.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.helpers import ROOT
from tests.kfp_services import Services
from tests.kfp_tools import compiled, program
from tools import image

# A pod's files: this host's, except for what a pod has of its own. Arguments: an empty folder, the service account's,
# where the outputs go, how many folders are shared, those folders, and the command.
_POD = r"""
set -e
root=$1 account=$2 outputs=$3 shared=$4; shift 4
mount -t tmpfs pod "$root"
for path in /*; do
  case $path in /tmp | /run | /work) continue ;; esac
  if [ -L "$path" ]; then cp -P "$path" "$root/"
  elif [ -d "$path" ]; then mkdir "$root$path"; mount --rbind "$path" "$root$path"
  fi
done
mkdir "$root/tmp" "$root/run" "$root/work"
while [ "$shared" -gt 0 ]; do
  mkdir -p "$root$1"; mount --rbind "$1" "$root$1"; shift; shared=$((shared - 1))
done
mkdir -p "$root/tmp/outputs" "$root/kfp-launcher" "$root/run/argo" "$root/run/secrets/kubernetes.io"
mount --bind "$outputs" "$root/tmp/outputs"
cp -r "$account" "$root/run/secrets/kubernetes.io/serviceaccount"
printf '#!/bin/sh\nshift 2\nexec "$@"\n' > "$root/run/argo/argoexec"; chmod +x "$root/run/argo/argoexec"
exec chroot "$root" "$@"
"""
_TAG = re.compile(r"\{\{([^{}]+)\}\}")


class KubeflowPipelines:
    """Runs compiled pipelines, one after the other, upon the same services.

    Attributes:
      inputs: task -> ExecutorInput's `inputs`, of the tasks whose container ran in the last run.
      pods: task -> what the driver asks for of its pod, of the same tasks.
      hits: tasks of the last run that came from the cache.
    """

    def __init__(self, folder: Path, services: Services, environment: Mapping[str, str]) -> None:
        """Starts nothing.

        Args:
          folder: what pods share with this process, beside this checkout and its environment.
          services: what the pods talk to.
          environment: variables of the image, beside the Dockerfile's.
        """
        self._folder = folder
        self._environment = {**_variables(), **environment}
        self._services = services
        for name in ("driver", "launcher-v2"):
            program(name)
        self.inputs: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.hits: list[str] = []

    def run(self, document: dict[str, Any], platform: dict[str, Any] | None = None) -> None:
        """Compiles a pipeline spec, and runs every task of its workflow.

        Args:
          document: the pipeline spec.
          platform: Kubernetes' spec of the pods beside it, which the API server hands to the drivers.
        """
        self.inputs, self.pods, self.hits = {}, {}, []
        workflow = compiled(document)
        kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platform else {}
        self._kubernetes = {label.removesuffix("_executor"): json.dumps(one) for label, one in kubernetes.items()}
        self._templates = {template["name"]: template for template in workflow["spec"]["templates"]}
        annotations = workflow["metadata"]["annotations"]
        self._values = {f"workflow.annotations.{name}": value for name, value in annotations.items()}
        self._values["workflow.uid"] = str(uuid.uuid4())
        self._run(workflow["spec"]["entrypoint"], {}, "")

    def _run(self, name: str, arguments: dict[str, str], task: str) -> dict[str, str]:
        """Runs a template; returns its output parameters."""
        template = self._templates[name]
        defaults = {one["name"]: one.get("default") for one in template["inputs"].get("parameters", [])}
        values = self._values | {
            f"inputs.parameters.{key}": value for key, value in {**defaults, **arguments}.items() if value is not None
        }
        if "dag" in template:
            self._run_dag(template["dag"]["tasks"], values, task)
            return {}
        return self._run_pod(template, values, task)

    def _run_dag(self, tasks: Sequence[dict[str, Any]], values: dict[str, str], parent: str) -> None:
        waiting, succeeded = list(tasks), set()
        while waiting:
            ready = [one for one in waiting if set(one.get("depends", "").split(" && ")) - {""} <= succeeded]
            assert ready, f"no order for {[one['name'] for one in waiting]}"
            for task in ready:
                waiting.remove(task)
                name = parent if task["name"] == "executor" else task["name"]
                given = task.get("arguments", {}).get("parameters", [])
                arguments = {one["name"]: _filled(one["value"], values) for one in given}
                if config := self._kubernetes.get(name.removesuffix("-driver")):
                    arguments["kubernetes-config"] = config
                left, _, right = _filled(task.get("when", ""), values).partition(" != ")
                if not right or left != right:
                    outputs = self._run(task["template"], arguments, name)
                    values |= {f"tasks.{task['name']}.outputs.parameters.{key}": out for key, out in outputs.items()}
                elif task["name"] == "executor":
                    self.hits.append(name)
                succeeded.add(f"{task['name']}.Succeeded")

    def _run_pod(self, template: dict[str, Any], values: dict[str, str], task: str) -> dict[str, str]:
        folder = self._folder / "pods" / f"{task}-{uuid.uuid4().hex[:8]}"
        outputs = template.get("outputs", {}).get("parameters", [])
        paths = {f"outputs.parameters.{one['name']}.path": one["valueFrom"]["path"] for one in outputs}
        patch = json.loads(_filled(template.get("podSpecPatch", ""), values) or '{"containers": [{}]}')
        container = {**template["container"], **patch["containers"][0]}
        environment = {
            **self._environment,
            **self._services.environment,
            **{one["name"]: one["value"] for one in container.get("env", []) if "value" in one},
            "KFP_POD_NAME": folder.name,
            "KFP_POD_UID": str(uuid.uuid4()),
        }
        words = [*container["command"], *container.get("args", [])]
        words = [_expanded(_filled(word, values | paths), environment) for word in words]
        if "--executor_input" in words:
            self.pods[task] = patch
            self.inputs[task] = json.loads(words[words.index("--executor_input") + 1])["inputs"]
        for part in ("root", "outputs"):
            (folder / part).mkdir(parents=True)
        start = []
        for one in template.get("initContainers", []):
            start += [*one["command"], "&&"]
        shell = ["sh", "-c", " ".join([*start, 'exec "$@"']), "sh"]
        self._start(folder, [*shell, *words], environment)
        found = {one["name"]: folder / "outputs" / Path(one["valueFrom"]["path"]).name for one in outputs}
        return {
            one["name"]: found[one["name"]].read_text() if found[one["name"]].exists() else one["valueFrom"]["default"]
            for one in outputs
        }

    def _start(self, folder: Path, words: Sequence[str], environment: dict[str, str]) -> None:
        shared = [self._folder, ROOT, *{Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}]
        path = os.pathsep.join([str(program("driver").parent), str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
        account = self._services.account
        pod = [folder / "root", account, folder / "outputs", len(shared), *shared]
        done = subprocess.run(
            ["unshare", "--map-root-user", "--mount", "bash", "-c", _POD, "pod", *map(str, pod)]
            + ["env", "-C", environment["HOME"], *words],
            env={**environment, "PATH": path, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        (folder / "log").write_text(done.stdout)
        assert done.returncode == 0, f"{folder.name}: {done.stdout[-4000:]}"


def _variables() -> dict[str, str]:
    """What the Dockerfile sets in the environment of each target."""
    (base,) = (stage for stage in image.read((ROOT / "Dockerfile").read_text()) if stage.name == "base")
    entries = [entry for step in base.steps if step.word == "ENV" for entry in shlex.split(step.rest)]
    return dict(entry.split("=", 1) for entry in entries)


def _filled(text: str, values: dict[str, str]) -> str:
    """The text with the tags that Argo knows; others are KFP's own placeholders."""
    return _TAG.sub(lambda tag: values.get(tag[1], tag[0]), text)


def _expanded(word: str, environment: dict[str, str]) -> str:
    """A word of a command, as Kubernetes expands the variables in it."""
    return re.sub(r"\$\((\w+)\)", lambda name: environment.get(name[1], name[0]), word)
