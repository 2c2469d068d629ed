"""One worker of a multi-worker run: `TF_CONFIG=... python -m trainer_module.workers.worker JOB.json`."""

import os
import signal
import sys
import traceback

from arcface_common.processes import die_with_parent
from trainer_module.workers.heartbeat import open_heartbeat


def main() -> None:
    """Trains the job that the file describes, as the worker that TF_CONFIG says this is.

    Its last line says in plain words why it failed. It ends with the code OTHERS_LOST where another worker is gone,
    with BAD_INPUT at a DataError, with STOPPED where a worker was asked to stop, and with 1 at anything else.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the supervisor's, which asks all to stop
    die_with_parent()  # else the workers of a killed supervisor would wait for each other for ever
    with open(sys.argv[1]) as f:
        told = f.read()
    open_heartbeat()  # at once: a temporary folder may be emptied while TensorFlow is imported

    from arcface_common.errors import DataError, in_short, without_bytes
    from trainer_module.training.loop import train
    from trainer_module.workers.cluster import BAD_INPUT, OTHERS_LOST, STOPPED
    from trainer_module.workers.job import TrainingJob

    try:
        train(TrainingJob.from_json(told))
    except KeyboardInterrupt:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(STOPPED)
    except Exception as error:
        print(without_bytes(traceback.format_exc()), file=sys.stderr)
        kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
        print(f"{kind}{' '.join(in_short(error).split())}")
        sys.stdout.flush()
        sys.stderr.flush()
        # Without TensorFlow's goodbye to the others, which waits for them.
        os._exit(OTHERS_LOST if _others_lost(error) else BAD_INPUT if isinstance(error, DataError) else 1)


def _others_lost(error: Exception) -> bool:
    """Whether it says that another worker is gone, in a step or while all wait for each other at the beginning."""
    import tensorflow as tf

    lost = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    # TensorFlow's coordination service calls a task that fell silent an internal error, too.
    return isinstance(error, lost) or (
        isinstance(error, tf.errors.OpError) and "CoordinationServiceError" in str(error)
    )


if __name__ == "__main__":
    main()
