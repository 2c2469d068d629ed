"""One worker's pod of a training on Kubernetes: `python -m trainer_module.workers.pod JOB.json`."""

import os
import sys

from arcface_common.console import CONSOLE_FD
from arcface_common.errors import DataError, in_short
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
        with open(sys.argv[1]) as f:
            job = TrainingJob.from_json(f.read())
        with sigterm_unwinds():  # the first process of a container ignores what it doesn't handle
            run_workers(job, pod_task(job.settings.workers))
    except (DataError, WorkerError) as error:
        print(" ".join(in_short(error).split()), file=sys.stderr)
        sys.exit(LOST if isinstance(error, WorkerLostError) else BAD_INPUT if isinstance(error, DataError) else 1)


if __name__ == "__main__":
    main()
