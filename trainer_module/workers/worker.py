"""One worker of a multi-worker run: `TF_CONFIG=... python -m trainer_module.workers.worker JOB.json`."""

import sys

from arcface_common.processes import die_with_parent


def main() -> None:
    """Trains the job that the file describes, as the worker that TF_CONFIG says this is."""
    die_with_parent()  # else the workers of a killed supervisor would wait for each other for ever

    from trainer_module.training.loop import train
    from trainer_module.workers.job import TrainingJob

    with open(sys.argv[1]) as f:
        job = TrainingJob.from_json(f.read())
    train(job)


if __name__ == "__main__":
    main()
