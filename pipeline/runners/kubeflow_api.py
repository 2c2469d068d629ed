"""Kubeflow Pipelines' API, by its own client: submits a compiled pipeline, and follows a run until it ends."""

import contextlib
import dataclasses
import datetime
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import urllib3

from arcface_common.console import say
from arcface_common.errors import DataError, argument, in_short
from pipeline.runners.kubeflow_client import (
    TIMEOUT_S,
    Server,
    connected,
    has_trouble,
    may_have_arrived,
    may_pass,
    silent,
)

CACHED = "CACHED"  # a step's state beside those of the API
_GOOD = ("SUCCEEDED", "SKIPPED")
_ENDED = (*_GOOD, "FAILED", "CANCELED")
_STATES = (*_ENDED, "RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "CANCELING", "PAUSED")
_LONGEST_PAUSE_S = 10.0  # between two looks; the first is a second
_PATIENCE_S = 600.0  # a server that restarts, a laptop between two networks
_LOG_END = 1 << 16
# How Python ends a traceback; the launcher's own lines come after it.
_RAISED = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Exit): .+)$", re.MULTILINE)


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

    def __init__(self, server: Server, patient: bool = False) -> None:
        """Connects.

        Args:
          server: where it is, and as whom it is asked.
          patient: asks a server for ten minutes that is there and has trouble of its own.

        Raises:
          DataError: nothing answers there, or not as Kubeflow Pipelines does.
        """
        self._host = server.host.rstrip("/")
        self._known: set[str] = set()
        self._client = self._patiently(
            lambda: connected(server, self._host), has_trouble if patient else lambda error: False
        )

    def submit(self, package: str, name: str) -> str:
        """Begins a run, in the experiment of the pipeline's name; its id.

        Args:
          package: YAML file of the compiled pipeline.
          name: of the pipeline.

        Raises:
          DataError: the server doesn't take it, or doesn't say whether it did.
        """
        begun = f"{name} {datetime.datetime.now():%Y-%m-%d %H:%M:%S}"
        with self._answered(), silent():
            experiment = self._client.create_experiment(name).experiment_id
        try:
            with self._answered(), silent():
                found = self._client.run_pipeline(experiment, begun, package)
        except DataError as error:
            if not may_have_arrived(error.__cause__):
                raise
            raise DataError(
                f"{error}. The run may have begun: look for {begun!r} at {self._host}/#/runs before another try"
            ) from error
        run = str(self._checked(found).run_id)
        self._known.add(run)
        return run

    def knows(self, run: str) -> bool:
        """Whether the server has told of a run, be it once."""
        return run in self._known

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
            found = self._patiently(lambda: self._asked(run), may_pass)
            self._known.add(run)
            with self._answered():
                steps = tuple(self._steps(found, run))
                why = _why(found, steps)
            for step in steps:
                if step.name not in ended and step.state in (*_ENDED, CACHED):
                    ended.add(step.name)
                    told(step)
            if found.state in _ENDED:
                return Outcome(run, self.page(run), found.state, steps, why)
            time.sleep(next(pauses))

    def page(self, run: str) -> str:
        """URL of a run's page."""
        return f"{self._host}/#/runs/details/{run}"

    def _asked(self, run: str) -> Any:
        """The API's run."""
        return self._checked(self._client.runs.run_service_get_run(run), run)

    def _patiently(self, asked: Callable[[], Any], may_pass: Callable[[BaseException | None], bool]) -> Any:
        """What the client answers; asked again for ten minutes.

        Args:
          asked: asks once.
          may_pass: whether to ask again after an error of the client's.
        """
        pauses, since = _pauses(), 0.0
        while True:
            try:
                with self._answered():
                    return asked()
            except DataError as error:
                if not may_pass(error.__cause__) or (since and time.monotonic() - since > _PATIENCE_S):
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
            said = f"{error.status or ''} {_message(error)}".strip()  # 0 is the client's own
            raise DataError(f"{host}: expected Kubeflow Pipelines to take this. Received: {said}") from error
        except (OpenApiException, urllib3.exceptions.HTTPError) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
                reason = f"no answer within {TIMEOUT_S} s"
            raise DataError(f"{host}: expected Kubeflow Pipelines' API. Received: {reason}") from error
        except DataError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            # The client and the steps take the fields of an answer for what they should be.
            raise DataError(
                f"{host}: expected Kubeflow Pipelines' API. Received: an answer of another form "
                f"({type(error).__name__}: {in_short(error)})"
            ) from error

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
            )
            for chunk in answer.stream(_LOG_END):
                end = (end + chunk)[-_LOG_END:]
        except (OpenApiException, urllib3.exceptions.HTTPError):
            return ""
        raised = _RAISED.findall(end.decode(errors="replace"))
        return raised[-1] if raised else ""


def _pauses() -> Iterator[float]:
    """Seconds between one look and the next."""
    pause = 1.0
    while True:
        yield pause
        pause = min(_LONGEST_PAUSE_S, 1.5 * pause)


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
    """A step's own nodes: the container, and each further try of it; each once, whatever the answer says."""
    left, seen = [detail], set()
    while left:
        for child in left.pop().child_tasks or []:
            found = pods.get(child.pod_name)
            if found and child.pod_name not in seen and found.display_name.startswith("executor"):
                seen.add(child.pod_name)
                yield found
                left.append(found)


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
