"""What a command imports, imported ahead: 15 s of TensorFlow and TFX. `tests.processes` forks commands from here.

Nothing here may run an op: TensorFlow's threads would be missing in the forks, which would wait for them for ever.
"""

import contextlib
import os
import warnings

from trainer_module.console import noise_to

with noise_to(os.devnull), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # A module that is gone is an error of the command that needs it, not of all.
    with contextlib.suppress(ImportError):
        import tensorflow  # noqa: F401
        from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor  # noqa: F401
        from tfx.orchestration.local import local_dag_runner  # noqa: F401

        import trainer_module.run_fn  # noqa: F401
