"""What a command imports, imported ahead: 15 s of TensorFlow and TFX. `tests.processes` forks commands from here.

Nothing here may run an op: TensorFlow's threads would be missing in the forks, which would wait for them for ever.
"""

import contextlib
import gc
import importlib
import os
import warnings

from arcface_common.console import noise_to

MODULES = (
    "tensorflow",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "tfx.orchestration.local.local_dag_runner",
    "evaluator_custom.executor",
    "evaluator_custom.report",
    "pipeline.create",
    "pipeline.evaluation.verification",
    "serving.local",
    "trainer_module.run_fn",
)

with noise_to(os.devnull), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for module in MODULES:
        # What cannot be imported is an error of the commands that need it, not of all.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)

gc.freeze()  # forks neither search what the imports made nor copy its pages
