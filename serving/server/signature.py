"""What a client can ask a version for, and what it must send. Needs no TensorFlow."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.server.errors import invalid


@dataclasses.dataclass(frozen=True)
class Spec:
    """A tensor of a signature.

    Attributes:
      dtype: numpy's; object for strings.
      data_type: TensorFlow's number of it.
      shape: None for what may vary; None altogether where the rank may, too.
    """

    dtype: np.dtype
    data_type: int
    shape: tuple[int | None, ...] | None

    @property
    def has_rows(self) -> bool:
        """Whether the first dimension is free."""
        return self.shape is not None and self.shape[:1] == (None,)

    def check(self, name: str, array: np.ndarray) -> None:
        """Checks an array's type and shape.

        Raises:
          ServingError: it is another.
        """
        fits = self.shape is None or (
            len(self.shape) == array.ndim
            and all(wanted in (None, size) for wanted, size in zip(self.shape, array.shape, strict=True))
        )
        if array.dtype != self.dtype or not fits:
            wanted = "any" if self.shape is None else [-1 if size is None else size for size in self.shape]
            raise invalid(
                f"input {name!r}: expected {kind(self.dtype)} {wanted}. "
                f"Received: {kind(array.dtype)} {list(array.shape)}"
            )


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a client can ask for.

    Attributes:
      name: that it is asked by.
      inputs: by the names that a client gives them.
      outputs: by theirs.
      definition: TensorFlow's SignatureDef.
    """

    name: str
    inputs: Mapping[str, Spec]
    outputs: Mapping[str, Spec]
    definition: Any

    @property
    def has_rows(self) -> bool:
        """Whether requests can be computed together: the first dimension of every tensor is free."""
        return bool(self.inputs) and all(spec.has_rows for spec in (*self.inputs.values(), *self.outputs.values()))


def lost(before: Mapping[str, Signature], after: Mapping[str, Signature]) -> list[str]:
    """What a client could ask one version for, and can't ask another for, in words."""
    found = [f"signature {name}" for name in before if name not in after]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        for what, olds, news in (("input", old.inputs, new.inputs), ("output", old.outputs, new.outputs)):
            found += [f"{what} {key} of {name} is another" for key, spec in olds.items() if spec != news.get(key)]
        found += [f"input {key} of {name} is new" for key in new.inputs if key not in old.inputs]
    return sorted(found)


def kind(dtype: np.dtype) -> str:
    """A dtype as a person reads it."""
    return "string" if dtype.hasobject else str(dtype)
