"""Counters and histograms in Prometheus' text, under the names that TF Serving gives them, which begin with a colon.

prometheus-client renames counters ("_total") and adds series ("_created"): dashboards for TF Serving would stay empty.
"""

import bisect
import dataclasses
from collections.abc import Callable, Iterator, Mapping

_PREFIX = ":tensorflow:serving:"
_LATENCIES = tuple(10 * 1.8**power for power in range(33))  # microseconds, as TF Serving's
_SIZES = tuple(2.0**power for power in range(15))
Labels = tuple[str, ...]


@dataclasses.dataclass
class _Histogram:
    counts: list[int]
    total: float = 0.0


@dataclasses.dataclass
class Counter:
    """A number that only grows, or with `gauge` one that is asked for, by label values."""

    name: str
    labels: Labels
    gauge: Callable[[], Mapping[Labels, float]] | None = None
    values: dict[Labels, float] = dataclasses.field(default_factory=dict)

    def add(self, *labels: str, by: float = 1) -> None:
        """Adds to the number of these label values."""
        self.values[labels] = self.values.get(labels, 0) + by

    def lines(self) -> Iterator[str]:
        """Prometheus' text."""
        yield f"# TYPE {self.name} {'gauge' if self.gauge else 'counter'}"
        for labels, value in list((self.gauge() if self.gauge else self.values).items()):
            yield f"{self.name}{_braces(self.labels, labels)} {value:.17g}"


@dataclasses.dataclass
class Histogram:
    """How often a value fell below each bound, by label values."""

    name: str
    labels: Labels
    bounds: tuple[float, ...] = _LATENCIES
    values: dict[Labels, _Histogram] = dataclasses.field(default_factory=dict)

    def observe(self, value: float, *labels: str) -> None:
        """Counts a value."""
        found = self.values.setdefault(labels, _Histogram([0] * (len(self.bounds) + 1)))
        found.counts[bisect.bisect_left(self.bounds, value)] += 1
        found.total += value

    def lines(self) -> Iterator[str]:
        """Prometheus' text."""
        yield f"# TYPE {self.name} histogram"
        for labels, found in list(self.values.items()):
            below = 0
            for bound, count in zip((*self.bounds, None), found.counts, strict=True):
                below += count
                end = "+Inf" if bound is None else f"{bound:.10g}"
                yield f"{self.name}_bucket{_braces((*self.labels, 'le'), (*labels, end))} {below}"
            yield f"{self.name}_sum{_braces(self.labels, labels)} {found.total:.17g}"
            yield f"{self.name}_count{_braces(self.labels, labels)} {below}"


class Metrics:
    """All that a server counts. Any thread may add; a number that two add to at once may lack one."""

    def __init__(self) -> None:
        self.requests = Counter(f"{_PREFIX}request_count", ("model_name", "status"))
        self.latency = Histogram(f"{_PREFIX}request_latency", ("model_name", "API", "entrypoint"))
        self.runtime = Histogram(f"{_PREFIX}runtime_latency", ("model_name", "API", "runtime"))
        self.examples = Histogram(f"{_PREFIX}request_example_counts", ("model",), _SIZES)
        self.example_total = Counter(f"{_PREFIX}request_example_count_total", ("model",))
        self.queuing = Histogram(f"{_PREFIX}batching_session:queuing_latency", ("model_name",))
        self.batch_rows = Histogram(f"{_PREFIX}batching_session:input_batch_size", ("model_name",), _SIZES)
        self.batch_size = Histogram(f"{_PREFIX}batching_session:processed_batch_size", ("model_name",), _SIZES)
        self.padding = Histogram(f"{_PREFIX}batching_session:padding_size", ("model_name",), (0.0, *_SIZES))
        self.warmup = Histogram(f"{_PREFIX}model_warmup_latency", ("model_path", "status"))
        self.warmup_records = Counter(f"{_PREFIX}model_warmup_records_read", ("model_path",))
        self.loads = Counter("arcface_tfx:server:model_loads", ("model_name", "status"))
        self._gauges: list[Counter] = []

    def gauge(self, name: str, labels: Labels, ask: Callable[[], Mapping[Labels, float]]) -> None:
        """Adds a number of ours that is asked for at each scrape."""
        self._gauges.append(Counter(f"arcface_tfx:server:{name}", labels, ask))

    def text(self) -> str:
        """All of them."""
        found = [value for value in vars(self).values() if isinstance(value, Counter | Histogram)]
        return "\n".join(line for metric in (*found, *self._gauges) for line in metric.lines()) + "\n"


def _braces(names: Labels, values: Labels) -> str:
    quoted = (value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") for value in values)
    return "{" + ",".join(f'{name}="{value}"' for name, value in zip(names, quoted, strict=True)) + "}" if names else ""
