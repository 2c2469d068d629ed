"""One worker's pod of a training on Kubernetes: `python -m trainer_module.workers.pod JOB.json`."""

import os
import sys

from arcface_common.console import CONSOLE_FD
from arcface_common.errors import DataError, in_short, parse_json_object
from arcface_common.processes import sigterm_unwinds
from trainer_module.workers.cluster import BAD_INPUT, LOST, pod_task
from trainer_module.workers.job import TrainingJob
from trainer_module.workers.supervisor import WorkerError, WorkerLostError, run_workers


def main() -> None:
    """Trains the job that the file describes, as the worker that the pod's environment says this is.

    A worker that was killed or hangs ends the pod, too, with the code LOST, and so does one that another pod's SIGTERM
    stopped: then whoever started the pods starts all of them again, and they go on from the last checkpoint. The last
    line says why, which Kubernetes keeps.
    """
    os.environ[CONSOLE_FD] = str(os.dup(2))  # the worker's progress is the container's log
    try:
        job = _read_job(sys.argv[1:])
        with sigterm_unwinds():  # the first process of a container ignores what it doesn't handle
            run_workers(job, pod_task(job.settings.workers))
    except (DataError, WorkerError) as error:
        print(" ".join(in_short(error).split()), file=sys.stderr)
        sys.exit(LOST if isinstance(error, WorkerLostError) else BAD_INPUT if isinstance(error, DataError) else 1)


def _read_job(arguments: list[str]) -> TrainingJob:
    """The job of the file that is named.

    Raises:
      DataError: none is named, or it is no job's.
    """
    if len(arguments) != 1:
        raise DataError(f"JOB.json: expected the path of one training job. Received: {arguments}")
    (path,) = arguments
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read()
    except (OSError, ValueError) as error:  # not there, or no text
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: expected a training job's file. Received: {reason}") from error
    parse_json_object(text, path)
    try:
        return TrainingJob.from_json(text)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: expected a training job. Received: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    main()
