"""The core that all transports ask: checks a request, computes it with others, counts it. Knows no transport."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serving.inference.engines import TENSORFLOW
from serving.server.batching import Batcher, BatchingParameters, Tensors
from serving.server.errors import Code, ServingError, invalid
from serving.server.limits import Limits
from serving.server.manager import Manager, Policy, Version, not_found
from serving.server.metrics import Metrics

DEFAULT_SIGNATURE = "serving_default"


@dataclasses.dataclass(frozen=True)
class Target:
    """Whom a request asks.

    Attributes:
      model: its name.
      version: None for the latest.
      label: in place of a version.
      signature: "" for `serving_default`.
    """

    model: str
    version: int | None = None
    label: str | None = None
    signature: str = ""


@dataclasses.dataclass(frozen=True)
class Answer:
    """Outputs, and the version and the signature that gave them."""

    version: int
    signature: str
    outputs: Tensors


class Core:
    """One model, its versions, and the batches of its requests. All methods are called in one event loop.

    Attributes:
      manager: its versions.
      metrics: what is counted.
    """

    def __init__(
        self,
        name: str,
        path: str,
        parameters: BatchingParameters | None = None,
        policy: Policy | None = None,
        engine: str = TENSORFLOW,
        most_rows: int = Limits.rows,
    ) -> None:
        """Nothing is loaded yet: `manager.look` does.

        Args:
          name: of the model, that clients ask by.
          path: folder of versions, or a SavedModel.
          parameters: how requests are batched.
          policy: which versions are served.
          engine: what computes the network, see `load_servable`.
          most_rows: of a request.
        """
        self._most_rows = most_rows
        self._engine = engine
        self.metrics = Metrics()
        self.batcher = Batcher(parameters or BatchingParameters(), self._note_batch)
        self.manager = Manager(name, path, self._load, policy, self._note_load)
        self.draining = False
        self.metrics.gauge("model_version", ("model_name", "version", "state"), self._states)
        self.metrics.gauge("batches_waiting", ("model_name",), lambda: {(name,): float(self.batcher.waiting())})

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manager.name

    def is_ready(self) -> bool:
        """Whether a version takes traffic, and new requests are welcome."""
        return not self.draining and bool(self.manager.available())

    @contextlib.contextmanager
    def use(self, target: Target) -> Iterator[Version]:
        """A version for as long as the body needs it.

        Raises:
          ServingError: no such model or version.
        """
        if target.model != self.name:
            raise not_found(target.model, target.version)
        with self.manager.use(target.version, target.label) as version:
            yield version

    def signature(self, version: Version, target: Target) -> Any:
        """The signature that a request asks for.

        Raises:
          ServingError: there is none of this name.
        """
        assert version.servable is not None
        name = target.signature or DEFAULT_SIGNATURE
        if name not in version.servable.signatures:
            raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return version.servable.signatures[name]

    async def predict(self, target: Target, version: Version, inputs: Tensors, only: Sequence[str] = ()) -> Answer:
        """Computes a request, together with others.

        Args:
          target: whom it asks.
          version: what `use` gave for it.
          inputs: name -> array; strings as numpy objects of bytes.
          only: the outputs that are wanted; all by default.

        Raises:
          ServingError: what is wrong with it, too many wait, or what the model says.
        """
        assert version.servable is not None
        signature = self.signature(version, target)
        _check_names(signature, inputs, only)
        for name, array in inputs.items():
            signature.inputs[name].check(name, array)
        rows = _rows(inputs, self._most_rows) if signature.has_rows else None
        self._note_examples(rows or 1)
        shapes = tuple((name, None if rows is None else inputs[name].shape[1:]) for name in sorted(inputs))
        key = (version, signature.name, shapes)
        servable = version.servable
        outputs = await self.batcher.run(key, lambda batch: self._timed(servable, signature.name, batch), inputs, rows)
        wanted = {name: outputs[name] for name in only or outputs}
        return Answer(version.number, signature.name, wanted)

    def status(self, target: Target) -> list[Version]:
        """The versions' states, the highest first.

        Raises:
          ServingError: no such model or version.
        """
        if target.model != self.name:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {target.model}")
        number = self.manager.number(target.version, target.label)
        found = [v for v in self.manager.versions.values() if number in (None, v.number)]
        if not found:
            what = "any versions" if number is None else f"version {number}"
            raise ServingError(Code.NOT_FOUND, f"Could not find {what} of model {target.model}")
        return sorted(found, key=lambda version: -version.number)

    def note_request(self, api: str, entrypoint: str, code: Code, seconds: float) -> None:
        """Counts an answered request."""
        self.metrics.requests.add(self.name, code.name)
        self.metrics.latency.observe(seconds * 1e6, self.name, api, entrypoint)

    async def close(self) -> bool:
        """Ends threads and sessions; no request is open any more.

        Returns:
          Whether all have ended: what is being loaded doesn't.
        """
        done = await self.manager.close()
        self.batcher.close()
        return done

    def _load(self, path: str) -> Any:
        """Loads and warms up a version, in the loader's thread: TensorFlow is imported by the first."""
        from serving.server.warmup import warm_up

        parameters = self.batcher.parameters
        servable = load_servable(path, self._engine)
        begun = time.monotonic()
        try:
            count = warm_up(servable, parameters.allowed_batch_sizes or (1, parameters.max_batch_size))
        except Exception:
            servable.close()
            raise
        self.metrics.warmup.observe((time.monotonic() - begun) * 1e6, path, "OK")
        self.metrics.warmup_records.add(path, by=count)
        return servable

    def _note_load(self, worked: bool) -> None:
        self.metrics.loads.add(self.name, "OK" if worked else "failed")

    def _timed(self, servable: Any, signature: str, batch: Tensors) -> Tensors:
        begun = time.monotonic()
        outputs: Tensors = servable.run(signature, batch)
        self.metrics.runtime.observe((time.monotonic() - begun) * 1e6, self.name, "Predict", "TF1")
        return outputs

    def _note_examples(self, rows: int) -> None:
        self.metrics.examples.observe(rows, self.name)
        self.metrics.example_total.add(self.name, by=rows)

    def _note_batch(self, rows: int, size: int, waited: list[float]) -> None:
        for seconds in waited:
            self.metrics.queuing.observe(seconds * 1e6, self.name)
        self.metrics.batch_rows.observe(rows, self.name)
        self.metrics.batch_size.observe(size, self.name)
        self.metrics.padding.observe(size - rows, self.name)

    def _states(self) -> Mapping[tuple[str, ...], float]:
        return {(self.name, str(v.number), v.state.name): 1.0 for v in self.manager.versions.values()}


def load_servable(path: str, engine: str) -> Any:
    """Loads a version, not yet warmed up.

    Args:
      path: its folder.
      engine: what computes its network.

    Raises:
      ServingError: it can't be loaded.
    """
    if engine == TENSORFLOW:
        from serving.server.servable import Servable

        return Servable(path)
    from serving.server.other_engines import open_servable  # imports Keras, too

    return open_servable(path, engine)


def _check_names(signature: Any, inputs: Tensors, only: Sequence[str]) -> None:
    """Checks a request's names as TF Serving does, in its words.

    Raises:
      ServingError: an input is missing or unknown, or an output is unknown or named twice.
    """
    sent, wanted = set(inputs), set(signature.inputs)
    if sent != wanted:
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{','.join(sorted(sent))}}}) != "
            f"len({{{','.join(sorted(wanted))}}}). Sent extra: {{{','.join(sorted(sent - wanted))}}}. "
            f"Missing but required: {{{','.join(sorted(wanted - sent))}}}."
        )
    for name in only:
        if name not in signature.outputs:
            known = ",".join(sorted(signature.outputs))
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set {{{known}}}."
            )
    if len(set(only)) != len(only):
        raise invalid("duplicate output tensor alias")


def _rows(inputs: Tensors, most: int) -> int:
    """How many rows each input has; TF Serving, too, refuses a batch of none.

    Raises:
      ServingError: none, more than `most`, or not equally many.
    """
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) != 1 or 0 in sizes:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in sorted(inputs.items()))
        raise invalid(f"expected inputs of equally many rows, at least one. Received: {shapes}")
    rows = sizes.pop()
    if rows > most:
        raise invalid(f"expected at most {most} rows in a request, as --max-rows says. Received: {rows}")
    return rows
