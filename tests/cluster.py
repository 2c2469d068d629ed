"""A stand-in for a cluster: an API server on loopback, and the controllers of TrainJobs and TFJobs behind it.

It takes what the CRDs' schemas take and the Role allows. A pod is a process of this host that runs the container's
command, with the environment that Kubernetes, JobSet, Kubeflow Trainer and the training operator give. What this lacks:
images, users, other hosts, and so the names of hosts, in whose place it puts ports of the loopback.
"""

import contextlib
import http.server
import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests import crds
from tests.pods import NAMESPACE, ClusterJob
from tests.serving.server.certificates import self_signed

_TOKEN, _POD_TOKEN = "token-of-the-step", "token-of-a-pod"


class Cluster(contextlib.ExitStack):
    """The cluster, while it runs.

    Attributes:
      kubeconfig: the file by which clients find it.
      jobs: name -> job, also those that were removed.
      statuses: what the pods sent of their progress.
      allowed: (API group, resource, verb) that the step's service account may.
      away: whether the API server answers 503 to all.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir()
        self._folder = folder
        self.jobs: dict[str, ClusterJob] = {}
        self.statuses: list[dict[str, Any]] = []
        self.away = False
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.allowed: set[tuple[str, str, str]] = set()
        api = self._serve(None)
        certificate = self_signed(folder, "127.0.0.1")
        status = self._serve(certificate)
        (folder / "token").write_text(_POD_TOKEN)
        self._told = {
            "KUBEFLOW_TRAINER_SERVER_URL": status,
            "KUBEFLOW_TRAINER_SERVER_CA_CERT": certificate[0],
            "KUBEFLOW_TRAINER_SERVER_TOKEN": str(folder / "token"),
        }
        self.kubeconfig = str(folder / "kubeconfig")
        context = {"cluster": "here", "user": "step", "namespace": NAMESPACE}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": api}}],
            "users": [{"name": "step", "user": {"token": _TOKEN}}],
            "contexts": [{"name": "here", "context": context}],
            "current-context": "here",
        }
        Path(self.kubeconfig).write_text(yaml.safe_dump(config))
        self.callback(self._stop)

    def apply(self, *manifests: dict[str, Any]) -> None:
        """What `kubectl apply` does."""
        for manifest in manifests:
            if manifest["kind"] == "Role":
                for rule in manifest["rules"]:
                    self.allowed |= {
                        (group, resource, verb)
                        for group in rule["apiGroups"]
                        for resource in rule["resources"]
                        for verb in rule["verbs"]
                    }
                continue
            plural = next(name for name in crds.KINDS if crds.definition(name)["kind"] == manifest["kind"])
            assert crds.refusals(plural, manifest) == []
            self._objects[plural, manifest["metadata"]["name"]] = manifest

    def object(self, plural: str, name: str) -> dict[str, Any] | None:
        """An object as the API server has it."""
        job = self.jobs.get(name)
        if job and job.is_gone():
            self._objects.pop((plural, name), None)
        return self._objects.get((plural, name))

    def _stop(self) -> None:
        for job in self.jobs.values():
            job.remove()
            job.join()

    def _serve(self, certificate: tuple[str, str] | None) -> str:
        cluster = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length) or b"{}")
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                handle = cluster._take_status if certificate else cluster._handle
                code, answer = handle(self.command, self.path, body, token)
                content = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        server = self.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        if certificate:
            secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            secure.load_cert_chain(*certificate)
            server.socket = secure.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.callback(server.shutdown)
        return f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"

    def _handle(self, method: str, path: str, body: dict[str, Any], token: str) -> tuple[int, dict[str, Any]]:
        """The API server's answer: status and body."""
        if self.away:
            return _failure(503, "the server is currently unable to handle the request")
        if token != _TOKEN:
            return _failure(401, "Unauthorized")
        url = urllib.parse.urlsplit(path)
        found = re.fullmatch(r"/(?:api|apis/([^/]+))/(v\w+)/namespaces/([^/]+)/(\w+)(?:/([^/]+))?", url.path)
        assert found, path
        group, version, namespace, plural, name = found.groups()
        assert namespace == NAMESPACE
        verb = {"POST": "create", "DELETE": "delete", "GET": "get" if name else "list"}[method]
        if (group or "", plural, verb) not in self.allowed:
            return _failure(403, f"cannot {verb} resource {plural} in API group {group!r}")
        if plural == "pods":
            owner = urllib.parse.parse_qs(url.query)["labelSelector"][0]
            return 200, {"kind": "PodList", "apiVersion": "v1", "items": list(self._pods(owner))}
        known = crds.definition(plural)
        assert (group, version) == (known["group"], known["version"])
        if method == "POST":
            return self._create(plural, body)
        if (existing := self.object(plural, name)) is None:
            return _failure(404, f'{plural}.{group} "{name}" not found')
        if method == "DELETE":
            self.jobs[name].remove()
        return 200, existing

    def _create(self, plural: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name = body["metadata"]["name"]
        if said := crds.refusals(plural, body):
            return _failure(422, "; ".join(said))
        if self.object(plural, name):
            return _failure(409, f'{plural} "{name}" already exists')
        runtime = None
        if plural == "trainjobs":
            runtime = self.object("trainingruntimes", body["spec"]["runtimeRef"]["name"])
            assert runtime, "Kubeflow Trainer's webhook refuses a job without its runtime"
        self._objects[plural, name] = body
        path = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs/{name}/status"
        told = {**self._told, "KUBEFLOW_TRAINER_SERVER_URL": self._told["KUBEFLOW_TRAINER_SERVER_URL"] + path}
        self.jobs[name] = ClusterJob(body, runtime, told if runtime else {}, self._folder)
        return 201, body

    def _pods(self, owner: str) -> Iterator[dict[str, Any]]:
        label, _, name = owner.partition("=")
        if name in self.jobs:
            yield from (pod.manifest() for pod in self.jobs[name].pods if pod.labels.get(label) == name)

    def _take_status(self, method: str, path: str, body: dict[str, Any], token: str) -> tuple[int, dict[str, Any]]:
        """The answer of Kubeflow Trainer's controller to progress (KEP-2779)."""
        name = path.split("/")[-2]
        assert (method, path.split("/")[-1]) == ("POST", "status")
        if token != _POD_TOKEN:
            return _failure(401, "Unauthorized")
        if list(body) != ["trainerStatus"] or (said := crds.refusals("trainjobs", body, part="status")):
            return _failure(422, f"{said}")
        self._objects["trainjobs", name].setdefault("status", {}).update(body)
        self.statuses.append(body["trainerStatus"])
        return 200, body


def _failure(code: int, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
