"""Kubeflow Pipelines' API, by its own client: submits a compiled pipeline, and follows a run until it ends."""

import contextlib
import dataclasses
import datetime
import io
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import urllib3

from arcface_common.console import say
from arcface_common.errors import DataError, argument
from serving.token_file import read_token

CACHED = "CACHED"  # a step's state beside those of the API
_GOOD = ("SUCCEEDED", "SKIPPED")
_ENDED = (*_GOOD, "FAILED", "CANCELED")
_STATES = (*_ENDED, "RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "CANCELING", "PAUSED")
_LONGEST_PAUSE_S = 10.0  # between two looks; the first is a second
_TIMEOUT_S = 60
_PATIENCE_S = 600.0  # a server that restarts, a laptop between two networks
_LOG_END = 1 << 16
# How Python ends a traceback; the launcher's own lines come after it.
_RAISED = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Exit): .+)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Server:
    """Where the API is, and as whom it is asked.

    Attributes:
      host: URL, e.g. "http://localhost:8888".
      namespace: of a cluster with several users; "" for one without.
      token_file: holds the bearer token, and is read for each request; "" for none.
      ca_cert: PEM file of the authority to trust; "" for the usual ones.
    """

    host: str
    namespace: str = ""
    token_file: str = ""
    ca_cert: str = ""


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a run.

    Attributes:
      name: of the task.
      state: as the API has it, or CACHED.
      seconds: that it took or has taken so far; 0 before.
      reason: why it failed, in a line; "" where it didn't or nobody says.
    """

    name: str
    state: str
    seconds: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      run: its id.
      url: of its page.
      state: as the API has it.
      steps: that began, in this order.
      reason: why it failed, in a line; "" where it didn't or nobody says.
    """

    run: str
    url: str
    state: str
    steps: tuple[Step, ...]
    reason: str

    @property
    def succeeded(self) -> bool:
        """Whether all went well."""
        return self.state in _GOOD


class Kubeflow:
    """The API at one host."""

    def __init__(self, server: Server) -> None:
        """Connects.

        Raises:
          DataError: nothing answers there, or not as Kubeflow Pipelines does.
        """
        self._host = server.host.rstrip("/")
        with self._answered(), _silent():
            self._client = _client_class()(
                host=self._host,
                namespace=server.namespace or "kubeflow",  # which the client takes for none
                credentials=_token_credentials(server.token_file) if server.token_file else None,
                ssl_ca_cert=server.ca_cert or None,
            )

    def submit(self, package: str, name: str) -> str:
        """Begins a run, in the experiment of the pipeline's name; its id.

        Args:
          package: YAML file of the compiled pipeline.
          name: of the pipeline.

        Raises:
          DataError: the server doesn't take it.
        """
        begun = f"{name} {datetime.datetime.now():%Y-%m-%d %H:%M:%S}"
        with self._answered(), _silent():
            run = self._client.create_run_from_pipeline_package(package, run_name=begun, experiment_name=name).run_info
        return str(self._checked(run).run_id)

    def follow(self, run: str, told: Callable[[Step], None]) -> Outcome:
        """Waits for the end of a run, through gaps of the network of ten minutes.

        Args:
          run: its id.
          told: called with each step once it has ended.

        Raises:
          DataError: no such run, or no answer for longer.
        """
        ended: set[str] = set()
        pauses = _pauses()
        while True:
            found = self._patiently(run)
            steps = tuple(self._steps(found, run))
            for step in steps:
                if step.name not in ended and step.state in (*_ENDED, CACHED):
                    ended.add(step.name)
                    told(step)
            if found.state in _ENDED:
                return Outcome(run, self.page(run), found.state, steps, _why(found, steps))
            time.sleep(next(pauses))

    def page(self, run: str) -> str:
        """URL of a run's page."""
        return f"{self._host}/#/runs/details/{run}"

    def _patiently(self, run: str) -> Any:
        """The API's run; a server that isn't there, or has trouble of its own, is asked again."""
        pauses, since = _pauses(), 0.0
        while True:
            try:
                with self._answered():
                    found = self._client.runs.run_service_get_run(run, _request_timeout=_TIMEOUT_S)
                return self._checked(found, run)
            except DataError as error:
                if not _may_pass(error.__cause__) or (since and time.monotonic() - since > _PATIENCE_S):
                    raise
                if not since:
                    since = time.monotonic()
                    say(f"WARNING {error}; asking on for {_PATIENCE_S / 60:.0f} minutes")
                time.sleep(next(pauses))

    def _checked(self, found: Any, run: str = "") -> Any:
        """The API's run, if it is one: a page that asks for a password is answered, too.

        Args:
          found: what was answered.
          run: id of the run that was asked for, "" for any.
        """
        number, state = getattr(found, "run_id", None), getattr(found, "state", None)
        if not number or (run and number != run) or (state and state not in _STATES):
            raise DataError(
                f"{argument('host', self._host)}: expected Kubeflow Pipelines' API. Received: an answer that is no "
                f"run{f' {run}' if run else ''}, as of a page to log in"
            )
        return found

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        """What the client raises, as a DataError that names the host."""
        from kfp_server_api.exceptions import ApiException, OpenApiException

        host = argument("host", self._host)
        try:
            yield
        except ApiException as error:
            raise DataError(
                f"{host}: expected Kubeflow Pipelines to take this. Received: {error.status} {_message(error)}"
            ) from error
        except (OpenApiException, urllib3.exceptions.HTTPError) as error:
            reason = getattr(error, "reason", None) or error
            raise DataError(f"{host}: expected Kubeflow Pipelines' API. Received: {reason}") from error

    def _steps(self, found: Any, run: str) -> Iterator[Step]:
        """The steps of the API's run that began, in this order."""
        names = _task_names(found.pipeline_spec)
        details = (found.run_details and found.run_details.task_details) or []
        pods = {detail.pod_name: detail for detail in details if detail.pod_name}
        steps = [detail for detail in details if not names or detail.display_name in names]
        for detail in sorted(steps, key=lambda detail: _seconds(detail.start_time)):
            attempts = list(_below(detail, pods))
            # Of a step that came from the cache, the container is left out.
            cached = detail.state == "SUCCEEDED" and attempts and all(one.state == "SKIPPED" for one in attempts)
            failed = detail.state == "FAILED"
            yield Step(
                detail.display_name,
                CACHED if cached else detail.state,
                max(0.0, _seconds(detail.end_time) - _seconds(detail.start_time)) if _seconds(detail.end_time) else 0.0,
                self._reason(run, [detail, *attempts]) if failed else "",
            )

    def _reason(self, run: str, attempts: list[Any]) -> str:
        """Why a step failed: what the API says, and what its container raised."""
        said = [message for one in attempts for message in _errors(one)]
        failed = [one.pod_name for one in attempts if one.state == "FAILED" and one.pod_name]
        raised = self._raised(run, failed[-1]) if failed else ""
        return ": ".join(filter(None, (said[-1] if said else "", raised)))

    def _raised(self, run: str, pod: str) -> str:
        """The exception that ended a pod, of the end of its log; "" where the cluster keeps none."""
        from kfp_server_api.exceptions import OpenApiException

        end = b""
        try:
            answer = self._client.runs.api_client.call_api(
                "/apis/v1alpha1/runs/{run_id}/nodes/{node_id}/log",
                "GET",
                path_params={"run_id": run, "node_id": pod},
                auth_settings=["Bearer"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=_TIMEOUT_S,
            )
            for chunk in answer.stream(_LOG_END):
                end = (end + chunk)[-_LOG_END:]
        except (OpenApiException, urllib3.exceptions.HTTPError):
            return ""
        raised = _RAISED.findall(end.decode(errors="replace"))
        return raised[-1] if raised else ""


def _client_class() -> Any:
    """The client, which asks for the server's health once: its own asks five times in 25 s, and hides what is wrong."""
    import kfp

    class Client(kfp.Client):
        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            return self.healthzs.healthz_service_get_healthz(_request_timeout=_TIMEOUT_S)

    return Client


def _token_credentials(path: str) -> Any:
    """The client's credentials out of a file, which may be renewed while a run is followed."""
    from kfp.client.token_credentials_base import TokenCredentialsBase

    class TokenFile(TokenCredentialsBase):
        def refresh_api_key_hook(self, config: Any) -> None:
            config.api_key["authorization"] = read_token(path)

    return TokenFile()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keeps the client's links and warnings off the screen."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _pauses() -> Iterator[float]:
    """Seconds between one look and the next."""
    pause = 1.0
    while True:
        yield pause
        pause = min(_LONGEST_PAUSE_S, 1.5 * pause)


def _may_pass(error: BaseException | None) -> bool:
    """Whether what went wrong is the network's or the server's passing trouble."""
    status = getattr(error, "status", None) or 0
    return isinstance(error, urllib3.exceptions.HTTPError) or status >= 500 or status == 429


def _message(error: Any) -> str:
    """What an answer with an error says."""
    try:
        body = json.loads(error.body)
        return str(body.get("message") or body.get("error"))
    except (TypeError, ValueError, AttributeError):
        return str(error.reason)


def _task_names(spec: Any) -> set[str]:
    """Names of the tasks that are containers; none where the API doesn't say."""
    spec = (spec or {}).get("pipeline_spec", spec or {})
    components = spec.get("components", {})
    dags = [each.get("dag", {}).get("tasks", {}) for each in (spec.get("root", {}), *components.values())]
    tasks = {name: task["componentRef"]["name"] for dag in dags for name, task in dag.items()}
    return {name for name, component in tasks.items() if "dag" not in components[component]}


def _below(detail: Any, pods: dict[str, Any]) -> Iterator[Any]:
    """A step's own nodes: the container, and each further try of it."""
    for child in detail.child_tasks or []:
        if found := pods.get(child.pod_name):
            if found.display_name.startswith("executor"):
                yield found
                yield from _below(found, pods)


def _why(found: Any, steps: tuple[Step, ...]) -> str:
    """Why the API's run failed: its steps' reasons, or where none of them began, what its other nodes say."""
    if found.state in _GOOD:
        return ""
    failed = [f"{step.name}: {step.reason}" for step in steps if step.reason]
    if not failed:
        details = (found.run_details and found.run_details.task_details) or []
        failed = [f"{one.display_name}: {said}" for one in details if one.state == "FAILED" for said in _errors(one)]
    return "; ".join(failed or list(_errors(found)))


def _errors(detail: Any) -> Iterator[str]:
    for one in (*(detail.state_history or []), detail):
        if one.error and one.error.message:
            yield one.error.message


def _seconds(time_: datetime.datetime | None) -> float:
    """Seconds since 1970; 0 for a time that isn't known, which the API has as 1970."""
    return max(0.0, time_.timestamp()) if time_ else 0.0
