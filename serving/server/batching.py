"""Requests computed together, in TF Serving's terms. Knows neither TensorFlow nor any transport."""

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from serving.server.errors import Code, ServingError

# Name -> array. What is batched has the rows as its first dimension, the same number in each array.
Tensors = Mapping[str, np.ndarray]
Compute = Callable[[Tensors], Tensors]
# Is told of each computed batch: rows, padded rows, and how long each part of it waited, in seconds.
OnBatch = Callable[[int, int, list[float]], None]


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """TF Serving's BatchingParameters.

    Attributes:
      max_batch_size: rows that are computed together at most.
      batch_timeout_micros: how long a batch waits for more rows while a thread is free.
      max_enqueued_batches: batches of one signature that may wait; a request beyond is refused (UNAVAILABLE).
      num_batch_threads: batches that are computed at once.
      allowed_batch_sizes: sizes that a batch is padded to, rising, the last one `max_batch_size`; none: as it comes.
    """

    max_batch_size: int = 32
    batch_timeout_micros: int = 2000
    max_enqueued_batches: int = 4
    num_batch_threads: int = 2
    allowed_batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)

    def padded(self, rows: int) -> int:
        """The size that a batch of so many rows is computed in."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


@dataclasses.dataclass(eq=False)
class _Part:
    """Rows of one request that are computed together."""

    inputs: Tensors
    rows: int
    since: float
    future: "asyncio.Future[Tensors]"


@dataclasses.dataclass(eq=False)
class _Batch:
    """Parts that are computed together, the room for more rows, and whether it may be padded: not what is alone."""

    parts: list[_Part] = dataclasses.field(default_factory=list)
    room: int = 0
    padded: bool = True

    @property
    def since(self) -> float:
        return self.parts[0].since


@dataclasses.dataclass(eq=False)
class _Queue:
    compute: Compute
    batches: deque[_Batch] = dataclasses.field(default_factory=deque)


class Batcher:
    """Collects rows of the same kind from many requests, and computes them in threads.

    All methods are called in one event loop. A batch goes to a free thread when it is full, or when its oldest rows
    have waited for the timeout; while no thread is free it goes on filling. Rows of a cancelled request are left out.
    """

    def __init__(self, parameters: BatchingParameters, on_batch: OnBatch = lambda *_: None) -> None:
        """Makes the threads.

        Args:
          parameters: sizes and times.
          on_batch: is told of each computed batch.
        """
        self.parameters = parameters
        self._on_batch = on_batch
        self._pool = ThreadPoolExecutor(parameters.num_batch_threads, "batch")
        self._free = parameters.num_batch_threads
        self._queues: dict[Hashable, _Queue] = {}
        self._computing: set[_Part] = set()
        self._timeout = parameters.batch_timeout_micros / 1e6
        self._timer: asyncio.TimerHandle | None = None

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
        queue = self._queues.setdefault(key, _Queue(compute))
        last = queue.batches[-1] if queue.batches else None
        fits = last is not None and rows is not None and rows <= last.room
        if not fits and len(queue.batches) >= self.parameters.max_enqueued_batches:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; "
                f"max_enqueued_batches is {self.parameters.max_enqueued_batches}",
            )
        parts = list(self._enqueued(queue, inputs, rows))
        self._pump()
        try:
            outputs = await asyncio.gather(*(part.future for part in parts))
        finally:
            for part in parts:
                part.future.cancel()  # where another part failed, or the request was cancelled
        if len(outputs) == 1:
            return outputs[0]
        return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}

    def close(self) -> None:
        """Ends the threads when they have computed what they are at."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def hurry(self) -> None:
        """From now on, no batch waits for company: there won't be much of it any more."""
        self._timeout = 0.0
        self._pump()

    def abandon(self) -> int:
        """Answers all that is not computed yet with UNAVAILABLE; how many parts of requests that are."""
        waiting = [part for queue in self._queues.values() for batch in queue.batches for part in batch.parts]
        open_parts = [part for part in (*waiting, *self._computing) if not part.future.done()]
        for part in open_parts:
            part.future.set_exception(ServingError(Code.UNAVAILABLE, "The server is shutting down"))
        return len(open_parts)

    def waiting(self) -> int:
        """How many batches wait for a thread."""
        return sum(len(queue.batches) for queue in self._queues.values())

    def _enqueued(self, queue: _Queue, inputs: Tensors, rows: int | None) -> Iterator[_Part]:
        """Puts a request's rows into the last batch, as far as there is room, and into new ones."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        if rows is None:
            part = _Part(inputs, 1, now, loop.create_future())
            queue.batches.append(_Batch([part], padded=False))
            yield part
            return
        done = 0
        while done < rows:
            if not queue.batches or not queue.batches[-1].room:
                queue.batches.append(_Batch(room=self.parameters.max_batch_size))
            batch = queue.batches[-1]
            size = min(batch.room, rows - done)
            part = _Part(
                {name: array[done : done + size] for name, array in inputs.items()}, size, now, loop.create_future()
            )
            batch.parts.append(part)
            batch.room -= size
            done += size
            yield part

    def _pump(self) -> None:
        """Hands batches to free threads, the oldest first, and sets the alarm for the next one that comes of age."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._free and self._queues:
            now = time.monotonic()
            due = {
                key: -1.0 if not head.room or len(queue.batches) > 1 else head.since + self._timeout
                for key, queue in self._queues.items()
                if queue.batches and (head := queue.batches[0])
            }
            ready = [key for key, when in due.items() if when <= now]
            if not ready:
                if due:
                    self._timer = asyncio.get_running_loop().call_later(min(due.values()) - now, self._pump)
                return
            self._start(min(ready, key=lambda key: self._queues[key].batches[0].since))

    def _start(self, key: Hashable) -> None:
        queue = self._queues[key]
        batch = queue.batches.popleft()
        if not queue.batches:
            del self._queues[key]
        parts = [part for part in batch.parts if not part.future.done()]
        if not parts:
            return
        self._free -= 1
        self._computing.update(parts)
        now = time.monotonic()
        rows = sum(part.rows for part in parts)
        size = self.parameters.padded(rows) if batch.padded else None
        self._on_batch(rows, size or rows, [now - part.since for part in parts])
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._pool, _computed, queue.compute, parts, size)
        done.add_done_callback(lambda done: self._finish(parts, done))

    def _finish(self, parts: list[_Part], done: "asyncio.Future[list[Tensors | Exception]]") -> None:
        self._free += 1
        self._computing.difference_update(parts)
        ended = ServingError(Code.UNAVAILABLE, "The server is shutting down")
        results = [ended] * len(parts) if done.cancelled() else done.result()
        for part, result in zip(parts, results, strict=True):
            if part.future.done():
                continue
            if isinstance(result, Exception):
                part.future.set_exception(result)
            else:
                part.future.set_result(result)
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
    joined = {}
    for name, first in parts[0].inputs.items():
        arrays = [part.inputs[name] for part in parts] + [np.repeat(first[:1], missing, axis=0)] * bool(missing)
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
