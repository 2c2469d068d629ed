"""Progress for the controller of Kubeflow Trainer, which shows it in the TrainJob's status (`kubectl get trainjob`)."""

import concurrent.futures
import datetime
import json
import math
import os
import ssl
import time
import urllib.request
from typing import Any

from arcface_common.console import say
from trainer_module.settings import TrainSettings
from trainer_module.training.hooks import Metrics
from trainer_module.training.state import TrainState

# What the controller puts into the environment of each pod, where its feature TrainJobStatus is on (KEP-2779).
URL = "KUBEFLOW_TRAINER_SERVER_URL"
_TOKEN, _CA = "KUBEFLOW_TRAINER_SERVER_TOKEN", "KUBEFLOW_TRAINER_SERVER_CA_CERT"
_SECONDS_BETWEEN = 10.0  # Kubeflow asks for 5 or more
_TIMEOUT_S = 5.0


class Report:
    """Sends how far the training is, beside it: what can't be sent is said once, and never stops a training."""

    collective = False

    def __init__(self, settings: TrainSettings) -> None:
        """Looks at the clock each `settings.log_every` steps."""
        self.every = settings.log_every
        self._settings = settings
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._sent: concurrent.futures.Future[None] | None = None
        self._sent_at, self._said = -math.inf, False

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Sends it, if the last time was a while ago; after the last step it waits until it is sent."""
        is_last = step == self._settings.steps
        if not is_last and (time.monotonic() - self._sent_at < _SECONDS_BETWEEN or not self._is_free()):
            return
        self._sent_at = time.monotonic()
        self._sent = self._pool.submit(self._send, json.dumps({"trainerStatus": self._status(step, metrics)}))
        if is_last:
            self._pool.shutdown()

    def _is_free(self) -> bool:
        return self._sent is None or self._sent.done()

    def _status(self, step: int, metrics: Metrics) -> dict[str, Any]:
        """TrainJobTrainerStatus, as the CRD has it; values of metrics are text there."""
        settings = self._settings
        values = {
            "step": str(step),
            "loss": f"{metrics.values['loss']:.6g}",
            # Of images whose nearest class centre is their own.
            "top_1": f"{metrics.values['accuracy']:.6g}",
        }
        status: dict[str, Any] = {"progressPercentage": 100 * step // settings.steps}
        if metrics.steps > 1:
            seconds = (metrics.seconds - metrics.first_seconds) / (metrics.steps - 1)
            status["estimatedRemainingSeconds"] = math.ceil(seconds * (settings.steps - step))
            values["images_per_second"] = f"{settings.batch_size / seconds:.6g}"
        status["metrics"] = [{"name": name, "value": value} for name, value in values.items()]
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        return {**status, "lastUpdatedTime": now.isoformat().replace("+00:00", "Z")}

    def _send(self, body: str) -> None:
        try:
            with open(os.environ[_TOKEN]) as f:  # each time: Kubernetes renews it
                token = f.read().strip()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            request = urllib.request.Request(os.environ[URL], body.encode(), headers)
            # The controller is in the cluster: past proxies.
            secure = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=os.environ[_CA]))
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), secure)
            opener.open(request, timeout=_TIMEOUT_S).close()
        except (OSError, KeyError, ValueError) as error:  # HTTP's errors are OSErrors
            if not self._said:
                self._said = True
                say(f"WARNING {os.environ[URL]}: expected to take the training's progress. Received: {error!r}")
