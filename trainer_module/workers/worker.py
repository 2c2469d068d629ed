"""One worker of a multi-worker run: `TF_CONFIG=... python -m trainer_module.workers.worker JOB.json`."""

import os
import sys
import traceback

from arcface_common.processes import die_with_parent


def main() -> None:
    """Trains the job that the file describes, as the worker that TF_CONFIG says this is.

    Ends with the code OTHERS_LOST where another worker is gone, and with 1 where it fails by itself.
    """
    die_with_parent()  # else the workers of a killed supervisor would wait for each other for ever

    import tensorflow as tf

    from trainer_module.training.loop import train
    from trainer_module.workers.job import TrainingJob
    from trainer_module.workers.supervisor import OTHERS_LOST

    with open(sys.argv[1]) as f:
        job = TrainingJob.from_json(f.read())
    try:
        train(job)
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    ):
        traceback.print_exc()
        sys.stdout.flush()
        # Without TensorFlow's goodbye to the others, which waits for them.
        os._exit(OTHERS_LOST)


if __name__ == "__main__":
    main()
