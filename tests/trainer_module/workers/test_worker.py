"""What a worker takes for the loss of another one."""

import pytest
import tensorflow as tf

from trainer_module.workers.worker import _others_lost

SILENT = (
    "Barrier failed because: task is set to ERROR: UNAVAILABLE: Task /job:worker/replica:0/task:1 heartbeat timeout. "
    "[type.googleapis.com/tensorflow.CoordinationServiceError='']"
)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (tf.errors.UnavailableError(None, None, "Connection reset by peer"), True),
        (tf.errors.InternalError(None, None, SILENT), True),  # frozen between its connection and its first step
        (tf.errors.InternalError(None, None, "a kernel failed"), False),
        (ValueError(SILENT), False),
    ],
)
def test_an_error_that_another_worker_caused(error, lost):
    assert _others_lost(error) == lost
