"""A training on one thread that gets a signal after a step: `... JOB.json [SIGNAL STEP [ignored]]`."""

import os
import signal
import sys


def main() -> None:
    """Trains the job that the file describes; after that many calls of the step the process sends itself the signal."""
    import tensorflow as tf

    from trainer_module.training import loop, resumption
    from trainer_module.workers.job import TrainingJob

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    path, *told = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
    if "ignored" in told:
        signal.signal(signal.Signals[told[0]], signal.SIG_IGN)
    if told:
        make_train_step, calls = loop.make_train_step, []

        def make_stopped_step(*arguments, **more):
            step = make_train_step(*arguments, **more)

            def stopped(iterator):
                calls.append(step(iterator))
                if len(calls) == int(told[1]):
                    os.kill(os.getpid(), signal.Signals[told[0]])
                return calls[-1]

            return stopped

        loop.make_train_step = make_stopped_step
    with open(path) as file:
        job = TrainingJob.from_json(file.read())
    loop.train(job)
    resumption.finish(job.work_dir, job.run_dir)


if __name__ == "__main__":
    main()
