"""Requests computed together, in TF Serving's terms. Knows neither TensorFlow nor any transport."""

import asyncio
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from serving.server.errors import Code, ServingError

# Name -> array. What is batched has the rows as its first dimension, the same number in each array.
Tensors = Mapping[str, np.ndarray]
Compute = Callable[[Tensors], Tensors]
# Is told of each batch: rows, padded rows, and how long each part of it waited, in seconds; by one thread at a time.
OnBatch = Callable[[int, int, list[float]], None]


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """TF Serving's BatchingParameters.

    Attributes:
      max_batch_size: rows that are computed together at most.
      batch_timeout_micros: how long a batch waits for more rows while a thread is free.
      max_enqueued_batches: batches of one signature that may wait; a request beyond is refused (UNAVAILABLE). One of
        several batches counts as one, and such requests leave one batch to others.
      num_batch_threads: batches that are computed at once.
      allowed_batch_sizes: sizes that are computed, rising, the last one `max_batch_size`; none: as it comes.
    """

    max_batch_size: int = 32
    batch_timeout_micros: int = 2000
    max_enqueued_batches: int = 4
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)

    def next_batch(self, waiting: int) -> tuple[int, int]:
        """How many of the waiting rows are computed together next, and the size that they are padded to.

        A batch costs as much as its rows and one more. Of the allowed sizes, the one is taken at which a row costs
        least: of 17 rows 16 are computed, and one waits for the next batch. Of 1, 8 and 32 alone, 7 are padded to 8.
        """
        rows = min(waiting, self.max_batch_size)
        size = min(self.allowed_batch_sizes, key=lambda size: (size + 1) / min(size, rows), default=rows)
        return min(rows, size), size


@dataclasses.dataclass(eq=False)
class _Request:
    """Inputs, how many of their rows are with a thread or computed, and the outputs of the computed ones.

    `since`: when it came. `turn`: the same, or when a piece of it was taken last, where no one batch holds it.
    """

    inputs: Tensors
    rows: int
    since: float
    turn: float
    future: "asyncio.Future[Tensors]"
    taken: int = 0
    outputs: dict[int, Tensors] = dataclasses.field(default_factory=dict)  # by the first row
    computed: int = 0

    def keep(self, part: "_Part", outputs: Tensors) -> None:
        """Keeps the outputs of some rows, and answers when all are there."""
        self.outputs[part.start] = outputs
        self.computed += part.rows
        if self.computed < self.rows:
            return
        found = [self.outputs[start] for start in sorted(self.outputs)]
        if len(found) == 1:
            self.future.set_result(outputs)
        else:
            self.future.set_result({name: np.concatenate([part[name] for part in found]) for name in outputs})


@dataclasses.dataclass(eq=False)
class _Part:
    """Rows of one request that are computed together."""

    request: _Request
    start: int
    rows: int

    @property
    def inputs(self) -> Tensors:
        if self.rows == self.request.rows:
            return self.request.inputs
        return {name: array[self.start : self.start + self.rows] for name, array in self.request.inputs.items()}


@dataclasses.dataclass(eq=False)
class _Queue:
    """Requests of one kind that wait, whether they may be computed together, and how many rows a batch holds."""

    compute: Compute
    together: bool
    most: int
    requests: deque[_Request] = dataclasses.field(default_factory=deque)

    def rows(self) -> int:
        """How many wait."""
        return sum(request.rows - request.taken for request in self.requests)

    def has_room(self, request: _Request, batches: int) -> bool:
        """Whether a request may wait, too, where so many batches may. A large one counts as one: it takes turns."""
        if not self.together:
            return len(self.requests) < batches
        if request.rows > self.most and len(self._large()) >= max(1, batches - 1):
            return False  # large ones alone leave others a batch
        waiting = sum(min(self.most, other.rows - other.taken) for other in self.requests)
        used = -(-waiting // self.most)
        return used < batches or waiting + request.rows <= used * self.most

    def _large(self) -> list[_Request]:
        """Those that no one batch holds."""
        return [request for request in self.requests if request.rows > self.most]

    def drop_ended(self) -> None:
        """Leaves out the requests that were cancelled, or failed by another part of theirs."""
        if any(request.future.done() for request in self.requests):
            self.requests = deque(request for request in self.requests if not request.future.done())

    def take(self, rows: int) -> list[_Part]:
        """So many of the rows that wait: half of large requests, each its share, and half of small ones in their order.

        Either gets what the other leaves. A small one that comes later doesn't wait for all pieces of a large one, nor
        a large one for all small ones. Who had a share goes behind the others, as all do where a batch is one row.
        """
        large = self._large()
        small = [request for request in self.requests if request.rows <= self.most]
        share = max(1, rows // 2 // max(1, len(large)))
        taken = dict.fromkeys(self.requests, 0)
        for requests, most in (((*large, *small) if rows > 1 else self.requests, share), (large, rows)):
            for request in requests:
                left = request.rows - request.taken - taken[request]
                more = min(rows, left, most if request.rows > self.most else left)
                taken[request] += more
                rows -= more
        parts = [_Part(request, request.taken, count) for request, count in taken.items() if count]
        for part in parts:
            part.request.taken += part.rows
        turned = [request for request in large if taken[request]]
        for request in turned:
            request.turn = time.monotonic()
        rest = [request for request in self.requests if request not in turned]
        self.requests = deque(request for request in (*rest, *turned) if request.taken < request.rows)
        return parts


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Parts that are computed together, and the size they are padded to; None: as they are."""

    compute: Compute
    parts: list[_Part]
    size: int | None


class Batcher:
    """Collects rows of the same kind from many requests, and computes them in threads.

    All methods are called in one event loop. A batch is made when a thread is free for it, and so many rows wait as it
    can hold, or the oldest has waited for the timeout. A thread that ends with one begins the next at once; meanwhile
    the event loop answers. Rows of a cancelled request are left out. Those of several batches take turns with others.
    """

    def __init__(self, parameters: BatchingParameters, on_batch: OnBatch = lambda *_: None) -> None:
        """Makes the threads.

        Args:
          parameters: sizes and times.
          on_batch: is told of each batch.
        """
        self.parameters = parameters
        self._on_batch = on_batch
        self._pool = ThreadPoolExecutor(parameters.num_batch_threads, "batch")
        self._timeout = parameters.batch_timeout_micros / 1e6
        self._timer: asyncio.TimerHandle | None = None
        self._open: set[_Request] = set()
        self._lock = threading.Lock()  # of what follows
        self._free = parameters.num_batch_threads
        self._queues: dict[Hashable, _Queue] = {}

    async def run(self, key: Hashable, compute: Compute, inputs: Tensors, rows: int | None) -> Tensors:
        """Computes a request's rows, together with those of others.

        Args:
          key: requests of one key may be computed together: same version, signature, types and shapes of a row.
          compute: inputs of a batch -> its outputs, with as many rows; is called in a thread.
          inputs: the request's arrays.
          rows: in each of them, at least one; None: what can't be batched, and is computed as it is.

        Returns:
          The request's outputs. One of more than `max_batch_size` rows is computed in parts.

        Raises:
          ServingError: UNAVAILABLE where too many batches wait; what `compute` raises.
        """
        now, largest = time.monotonic(), self.parameters.max_batch_size
        request = _Request(inputs, rows or 1, now, now, asyncio.get_running_loop().create_future())
        with self._lock:
            queue = self._queues.setdefault(key, _Queue(compute, rows is not None, largest))
            queue.drop_ended()
            if not queue.has_room(request, self.parameters.max_enqueued_batches):
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; "
                    f"max_enqueued_batches is {self.parameters.max_enqueued_batches}",
                )
            queue.requests.append(request)
        self._open.add(request)
        self._pump()
        try:
            return await request.future
        finally:
            self._open.discard(request)

    def close(self) -> None:
        """Ends the threads when they have computed what they are at."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def hurry(self) -> None:
        """From now on, no batch waits for company: there won't be much of it any more."""
        self._timeout = 0.0
        self._pump()

    def abandon(self) -> int:
        """Answers all that is not computed yet with UNAVAILABLE; how many requests that are."""
        unanswered = [request for request in self._open if not request.future.done()]
        for request in unanswered:
            request.future.set_exception(ServingError(Code.UNAVAILABLE, "The server is shutting down"))
        return len(unanswered)

    def waiting(self) -> int:
        """How many batches wait for a thread."""
        with self._lock:
            return sum(map(self._batches, self._queues.values()))

    def _batches(self, queue: _Queue) -> int:
        rows = queue.rows()
        return -(-rows // self.parameters.max_batch_size) if queue.together else len(queue.requests)

    def _pump(self) -> None:
        """Hands batches to free threads, and sets the alarm for the next one that comes of age."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._lock:
            while self._free and (batch := self._take()) is not None:
                self._free -= 1
                self._pool.submit(self._work, batch)
            due = min(map(self._due, self._queues.values()), default=None) if self._free else None
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(due - time.monotonic(), self._pump)

    def _due(self, queue: _Queue) -> float:
        """When a queue's next batch is to begin."""
        whole = not queue.together or queue.rows() >= self.parameters.max_batch_size
        return 0.0 if whole else min(request.since for request in queue.requests) + self._timeout

    def _take(self) -> _Batch | None:
        """The oldest batch that is due. The lock is held."""
        for queue in self._queues.values():
            queue.drop_ended()
        self._queues = {key: queue for key, queue in self._queues.items() if queue.requests}
        now = time.monotonic()
        due = [queue for queue in self._queues.values() if self._due(queue) <= now]
        if not due:
            return None
        queue = min(due, key=lambda queue: min(request.turn for request in queue.requests))
        rows, size = self.parameters.next_batch(queue.rows()) if queue.together else (1, 1)
        parts = queue.take(rows)
        self._on_batch(rows, size, [now - part.request.since for part in parts])
        return _Batch(queue.compute, parts, size if queue.together else None)

    def _work(self, batch: _Batch | None) -> None:
        """In a thread: computes a batch, and what is due when it ends."""
        while batch is not None:
            done, results = batch, _computed(batch.compute, batch.parts, batch.size)
            with self._lock:
                batch = self._take()
                self._free += batch is None
            loop = done.parts[0].request.future.get_loop()
            loop.call_soon_threadsafe(self._finish, done.parts, results)

    def _finish(self, parts: list[_Part], results: list[Tensors | Exception]) -> None:
        for part, result in zip(parts, results, strict=True):
            if part.request.future.done():
                continue
            if isinstance(result, Exception):
                part.request.future.set_exception(result)
            else:
                part.request.keep(part, result)
        self._pump()


def _computed(compute: Compute, parts: list[_Part], size: int | None) -> list[Tensors | Exception]:
    """Outputs of each part. Where a batch fails by one's fault, each is computed alone: the others are answered."""
    try:
        if size is None:
            return [compute(parts[0].inputs)]
        return list(_split(compute(_joined(parts, size)), parts, size))
    except Exception as error:
        blamed = isinstance(error, ServingError) and error.code == Code.INVALID_ARGUMENT
        if len(parts) == 1 or not blamed:
            return [error] * len(parts)
        return [_computed(compute, [part], part.rows)[0] for part in parts]


def _joined(parts: list[_Part], size: int) -> Tensors:
    """The rows of all parts, filled up to `size` with the first one, as TF Serving pads."""
    missing = size - sum(part.rows for part in parts)
    given = [part.inputs for part in parts]
    joined = {}
    for name, first in given[0].items():
        arrays = [inputs[name] for inputs in given] + [np.repeat(first[:1], missing, axis=0)] * bool(missing)
        joined[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return joined


def _split(outputs: Tensors, parts: list[_Part], size: int) -> Iterator[Tensors]:
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != size:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Batched output tensor {name!r} has a 0th dimension that does not equal the batch's: "
                f"{list(array.shape)}, {size} rows",
            )
    start = 0
    for part in parts:
        yield {name: array[start : start + part.rows] for name, array in outputs.items()}
        start += part.rows
