"""One worker of a multi-worker run: `TF_CONFIG=... python -m trainer_module.worker JOB.json`."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Trains the job that the file describes, as the worker that TF_CONFIG says this is."""
    # A supervisor that is killed cannot stop its workers: without this they would wait for each other for ever.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    from trainer_module.job import TrainingJob
    from trainer_module.loop import train

    with open(sys.argv[1]) as f:
        job = TrainingJob.from_json(f.read())
    train(job)


if __name__ == "__main__":
    main()
