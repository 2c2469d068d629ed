"""A stand-in for the API server of Kubeflow Pipelines on loopback, which the real client talks to.

It answers what `backend/src/apiserver` answers, in its JSON, and takes what `tests.kubeflow.accept` does. A run's nodes
are Argo's: beside each step its driver, and below it the container. Each look at a run moves it on. What it
lacks: pipelines, recurring runs, users.
"""

import contextlib
import json
import re
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.kubeflow import RefusedError, accept


class Server:
    """The API's state.

    Attributes:
      host: URL.
      token: bearer token that it wants; None for none.
      fails: step -> log of its container, whose end is a failure.
      cached: steps that come from the cache.
      looks: run -> how many steps the looks at it have moved it on.
      stride: how many steps a look at a run moves it on.
      waits: a run stands still before this step; None for none.
      troubles: how many of the next requests are answered with 503.
      runs: run id -> what was submitted.
    """

    def __init__(self) -> None:
        self.host = ""
        self.token: str | None = None
        self.fails: dict[str, str] = {}
        self.cached: set[str] = set()
        self.stride = 1
        self.waits: str | None = None
        self.troubles = 0
        self.runs: dict[str, dict[str, Any]] = {}
        self._experiments: dict[str, dict[str, Any]] = {}
        self.looks: dict[str, int] = {}

    def answer(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        """Status and JSON, or text of a log."""
        if path == "/apis/v2beta1/healthz":
            return 200, {"multi_user": False}
        if path == "/apis/v2beta1/experiments" and method == "GET":
            return 200, {"experiments": [one for one in self._experiments.values() if one["display_name"] in query]}
        if path == "/apis/v2beta1/experiments":
            return 200, self._experiments.setdefault(body["display_name"], {**body, "experiment_id": str(uuid.uuid4())})
        if path == "/apis/v2beta1/runs" and method == "POST":
            return self._create(body)
        if found := re.fullmatch("/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", path):
            return 200, self.fails[found[2].removesuffix("-executor")]
        run = path.removeprefix("/apis/v2beta1/runs/")
        if run not in self.runs:
            return 404, {"code": 5, "message": f"run {run} not found", "error": "ResourceNotFoundError"}
        return 200, self._look(run)

    def _create(self, body: dict[str, Any]) -> tuple[int, Any]:
        document = body["pipeline_spec"].get("pipeline_spec", body["pipeline_spec"])
        try:
            accept(document)
        except RefusedError as error:
            return 400, {"code": 3, "message": str(error)}
        assert body["experiment_id"] in {one["experiment_id"] for one in self._experiments.values()}
        run = str(uuid.uuid4())
        self.runs[run] = body
        self.looks[run] = 0
        return 200, {**body, "run_id": run, "state": "PENDING"}

    def _look(self, run: str) -> dict[str, Any]:
        """The run as the API has it, a step further than before."""
        body = self.runs[run]
        document = body["pipeline_spec"].get("pipeline_spec", body["pipeline_spec"])
        names = sorted(document["root"]["dag"]["tasks"])
        wanted = self.looks[run] = self.looks[run] + self.stride
        nodes, state = [_node("root-driver", "SUCCEEDED")], "RUNNING"
        for number, name in enumerate(names[:wanted]):
            if name == self.waits:
                nodes += [_node(name, "RUNNING", number)]
                break
            ended = "FAILED" if name in self.fails else "SUCCEEDED"
            container = "SKIPPED" if name in self.cached else ended
            nodes += [
                _node(f"{name}-driver", "SUCCEEDED", number),
                _node(name, ended, number, [f"{name}-executor", "unknown"]),
                {**_node("executor", container, number), "pod_name": f"{name}-executor"},
            ]
            if ended == "FAILED":
                state = ended
                break
        else:
            state = "SUCCEEDED" if wanted > len(names) else "RUNNING"
        return {**body, "run_id": run, "state": state, "run_details": {"task_details": nodes}}


def _node(name: str, state: str, number: int = 0, children: list[str] | None = None) -> dict[str, Any]:
    """A node of the workflow: the server gives times that it doesn't know as 1970, and errors in the history alone."""
    end = f"2026-11-29T10:{number:02}:12Z" if state != "RUNNING" else "1970-01-01T00:00:00Z"
    error = {"error": {"code": 13, "message": "Error (exit code 1)"}} if state == "FAILED" else {}
    return {
        "display_name": name,
        "pod_name": name,
        "state": state,
        "start_time": f"2026-11-29T10:{number:02}:00Z",
        "end_time": end,
        "state_history": [{"state": state, **error}],
        "child_tasks": [{"pod_name": child} for child in children or []],
    }


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """The server, while it runs."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path, _, query = self.path.partition("?")
            if state.troubles:
                state.troubles -= 1
                status, answer = 503, {"message": "no healthy upstream"}
            elif state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
                status, answer = 401, {"message": "Unauthenticated"}
            else:
                status, answer = state.answer(self.command, path, query, json.loads(body) if body else None)
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = _do  # noqa: N815 - http.server's names

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.host = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
