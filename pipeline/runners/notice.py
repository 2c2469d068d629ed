"""The step that comes last on Kubeflow, however the run ended: posts that to an address that a secret holds.

Its payload is JSON, with `text` as chat programs take it: `{"text": "arcface: failed: ...", "state": "FAILED",
"error": {"code": 9, "message": "..."}, "run": "..."}`.
"""

import json
import os
import sys
import urllib.request
from typing import Any

TASK = "Notice"  # the step's name
_STEPS = "Pipeline"  # the task that holds all others
_STATUS = "status"
_TIMEOUT_S = 30


def add_notice(spec: dict[str, Any], image: str, variable: str) -> None:
    """Puts all tasks below one, whose end is waited for by the step that posts, as KFP's `dsl.ExitHandler` does.

    Args:
      spec: the pipeline spec; changed.
      image: of the steps.
      variable: of the environment, which holds the address.
    """
    root = spec["root"]
    parameters = root["inputDefinitions"]["parameters"]
    spec["components"] |= {
        _STEPS: {
            "dag": root["dag"],
            "inputDefinitions": {
                "parameters": {name: {"parameterType": one["parameterType"]} for name, one in parameters.items()}
            },
        },
        TASK: {
            "executorLabel": f"{TASK}_executor",
            "inputDefinitions": {"parameters": {_STATUS: {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}}},
        },
    }
    root["dag"] = {
        "tasks": {
            _STEPS: {
                "taskInfo": {"name": _STEPS},
                "componentRef": {"name": _STEPS},
                "inputs": {"parameters": {name: {"componentInputParameter": name} for name in parameters}},
            },
            TASK: {
                "taskInfo": {"name": TASK},
                "componentRef": {"name": TASK},
                "dependentTasks": [_STEPS],
                "inputs": {"parameters": {_STATUS: {"taskFinalStatus": {"producerTask": _STEPS}}}},
                "triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
            },
        }
    }
    spec["deploymentSpec"]["executors"][f"{TASK}_executor"] = {
        "container": {
            "image": image,
            "command": ["python", "-m", "pipeline.runners.notice"],
            "args": [variable, spec["pipelineInfo"]["name"], "{{$}}"],
        }
    }


def payload(pipeline: str, executor_input: Any) -> dict[str, Any]:
    """What is posted.

    Args:
      pipeline: its name.
      executor_input: KFP's ExecutorInput, with the final status; a backend may leave that out.
    """
    status = _final_status(executor_input)
    error = status.get("error")
    error = error if isinstance(error, dict) else {}
    state = str(status.get("state") or "")
    text = f"{pipeline}: {state.lower() or 'ended, and the platform does not say how'}"
    return {
        "text": f"{text}: {error['message']}" if error.get("message") else text,
        "state": state,
        "error": error,
        "run": status.get("pipelineJobResourceName") or "",
    }


def _final_status(executor_input: Any) -> dict[str, Any]:
    """KFP's PipelineTaskFinalStatus; empty where there is none."""
    try:
        status = executor_input["inputs"]["parameterValues"][_STATUS]
        if isinstance(status, str):  # older backends have it as text
            status = json.loads(status)
    except (KeyError, TypeError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def main(arguments: list[str]) -> None:
    """Posts. What goes wrong there is said, and is no failure of the run.

    Args:
      arguments: the variable that holds the address, the pipeline's name, KFP's ExecutorInput as JSON.
    """
    variable, pipeline, executor_input = arguments
    address = os.environ.get(variable, "").strip()
    if not address.lower().startswith(("http://", "https://")):
        print(f"WARNING expected an address that takes JSON in {variable}. Received: none with http:// or https://")
        return
    try:
        body = json.dumps(payload(pipeline, json.loads(executor_input))).encode()
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            print(f"posted to the address in {variable}: {answer.status}")
    except Exception as error:  # whatever an address or a server can bring up
        # Not the error's own words, which may hold the address: it is a secret.
        print(f"WARNING expected an address that takes JSON in {variable}. Received: {type(error).__name__}")


if __name__ == "__main__":
    main(sys.argv[1:])
