"""A line for each answered request: whom it asked and how it ended. Never an image, an embedding or a token."""

import contextlib
import contextvars
import dataclasses
import time
from collections.abc import Iterator

from serving.server.batching import Tensors
from serving.server.core import Answer, Core
from serving.server.errors import Code
from serving.server.words import tell

_COMPUTED = {"Predict", "Classify", "Regress", "MultiInference", "ModelInfer"}  # what is counted, as TF Serving does
_PROBES = {"ServerLive", "ServerReady", "Metrics", "Page"}  # come all the time, and have no line of their own


@dataclasses.dataclass
class Entry:
    """What is known of a request while it is answered."""

    request_id: str
    api: str
    entrypoint: str
    version: int | None = None
    signature: str = ""
    rows: int | None = None
    code: Code = Code.OK

    def note(self, answer: Answer, inputs: Tensors) -> None:
        """Keeps who answered, and how many rows."""
        self.version, self.signature = answer.version, answer.signature
        self.rows = max((len(array) for array in inputs.values() if array.ndim), default=1)


_entry: contextvars.ContextVar[Entry] = contextvars.ContextVar("entry")


def entry() -> Entry:
    """The entry of the request that is being answered."""
    return _entry.get()


class Journal:
    """Counts requests, tells how many are open, and writes their lines where that is wanted."""

    def __init__(self, core: Core, lines: bool) -> None:
        """Keeps them.

        Args:
          core: that the requests ask.
          lines: whether a line is written for each.
        """
        self._core = core
        self._lines = lines
        self.open = 0
        core.metrics.gauge("requests_open", ("model_name",), lambda: {(core.name,): float(self.open)})

    @contextlib.contextmanager
    def entry(self, request_id: str, api: str, entrypoint: str) -> Iterator[Entry]:
        """A request, from its head to its end.

        Args:
          request_id: of the log.
          api: the method, e.g. "Predict".
          entrypoint: "GRPC" or "REST".
        """
        entry, begun = Entry(request_id, api, entrypoint), time.monotonic()
        _entry.set(entry)
        self.open += 1
        try:
            yield entry
        finally:
            self.open -= 1
            self._end(entry, time.monotonic() - begun)

    def _end(self, entry: Entry, seconds: float) -> None:
        if entry.api in _COMPUTED:
            self._core.note_request(entry.api, entry.entrypoint, entry.code, seconds)
        if self._lines and (entry.api not in _PROBES or entry.code != Code.OK):
            told = {"version": entry.version, "signature": entry.signature or None, "rows": entry.rows}
            words = [f"{name}={value}" for name, value in told.items() if value is not None]
            took = f"{seconds * 1000:.1f}ms"
            tell(" ".join([entry.entrypoint, entry.api, entry.code.name, took, f"id={entry.request_id}", *words]))
