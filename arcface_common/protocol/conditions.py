"""What a model must fulfil to be blessed: one line of text a condition.

| text | holds where |
|---|---|
| `SET.FIGURE >= NUMBER`, `SET.FIGURE <= NUMBER` | the candidate's figure does |
| `SET.accuracy change >= NUMBER` | accuracy minus that of the latest blessed model does, and minus the best's so far |
| `SET.FIGURE gap COLUMN <= NUMBER` | the difference between the best and the worst slice of an attribute does |
| `SET.leaks <= NUMBER` | the share of the set that is in the training set does, see `leaks.leaked_share` |

Imports the standard library and our errors only: the command line reads conditions before anything else.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Literal, Self

from arcface_common.errors import DataError

# Fields of `insightface.VerificationResult` that are one number each.
FIGURES = (
    "accuracy",
    "accuracy_std",
    "threshold",
    "threshold_std",
    "tar",
    "tar_std",
    "far",
    "tar_threshold",
    "tar_1e2",
    "xnorm",
    "auc",
    "eer",
    "pairs",
)
# How the protocol's folds may be cut, see `insightface.evaluate`.
Cut = Literal["contiguous", "stratified"]
CUTS: tuple[Cut, ...] = ("contiguous", "stratified")
# Figures that a slice has at the threshold of the whole set.
SLICE_FIGURES = ("accuracy", "tar", "far")
# What isn't of the model, but of its data.
LEAKS = "leaks"
# A difference of two models that McNemar's two-sided test gives a larger p-value than this counts as none.
SIGNIFICANCE = 0.05

Kind = Literal["value", "change", "gap", "leak"]

_GRAMMAR = (
    "`SET.FIGURE >= NUMBER`, `SET.FIGURE <= NUMBER`, `SET.accuracy change >= NUMBER`, "
    "`SET.FIGURE gap COLUMN <= NUMBER` or `SET.leaks <= NUMBER`"
)
_FORM = re.compile(
    r"(?P<set>\S+)\.(?P<figure>\w+)(?P<change>\s+change)?(?:\s+gap\s+(?P<column>\S.*?))?"
    r"\s*(?P<sign>[<>]=)\s*(?P<bound>\S+)"
)
_UNBOUNDED = ("xnorm", "pairs")
_DISTANCES = ("threshold", "threshold_std", "tar_threshold")


@dataclasses.dataclass(frozen=True)
class Condition:
    """One bound.

    Attributes:
      set: the verification set.
      figure: one of `FIGURES`, or `LEAKS`.
      kind: "value" of the candidate, "change" against the latest and the best blessed model, "gap" between slices, or
        "leak" from the training set.
      sign: ">=" or "<=".
      bound: what the value is held against.
      column: the attribute whose slices a gap is between; "" otherwise.

    Raises:
      ValueError: an unknown figure or sign, or a bound that no model or every model would meet.
    """

    set: str
    figure: str
    kind: Kind
    sign: Literal[">=", "<="]
    bound: float
    column: str = ""

    def __post_init__(self) -> None:
        allowed = {"value": FIGURES, "change": ("accuracy",), "gap": SLICE_FIGURES, "leak": (LEAKS,)}[self.kind]
        signs = {"value": (">=", "<="), "change": (">=",), "gap": ("<=",), "leak": ("<=",)}[self.kind]
        low, high = self._range()
        if self.figure not in allowed:
            raise ValueError(f"{self}: expected a {self.kind} of {', '.join(allowed)}. Received: {self.figure!r}")
        if self.sign not in signs:
            raise ValueError(f"{self}: expected a {self.kind} with {' or '.join(signs)}. Received: {self.sign!r}")
        if not low <= self.bound <= high or math.isinf(self.bound):
            raise ValueError(f"{self}: expected a number in [{low:g}, {high:g}]. Received: {self.bound!r}")

    def _range(self) -> tuple[float, float]:
        if self.kind == "change":
            return -1.0, 1.0
        if self.figure in _UNBOUNDED:
            return 0.0, math.inf
        return 0.0, 4.0 if self.figure in _DISTANCES else 1.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a condition; spaces around its words don't matter.

        Args:
          text: e.g. "lfw.accuracy >= 0.99", "lfw.accuracy change >= 0", "lfw.tar gap age <= 0.02", "lfw.leaks <= 0".

        Raises:
          ValueError: text of another form, or see the class.
        """
        match = _FORM.fullmatch(text.strip())
        bound = _number(match["bound"]) if match else None
        if match is None or bound is None or (match["change"] and match["column"]):
            raise ValueError(f"expected a condition {_GRAMMAR}. Received: {text!r}")
        kind: Kind = "change" if match["change"] else "gap" if match["column"] else "value"
        if kind == "value" and match["figure"] == LEAKS:
            kind = "leak"
        sign: Literal[">=", "<="] = ">=" if match["sign"] == ">=" else "<="
        return cls(match["set"], match["figure"], kind, sign, bound, match["column"] or "")

    def __str__(self) -> str:
        """The text, which `parse` reads back."""
        words = {"change": " change", "gap": f" gap {self.column}"}.get(self.kind, "")
        return f"{self.set}.{self.figure}{words} {self.sign} {repr(self.bound).removesuffix('.0')}"

    def holds(self, value: float | None) -> bool:
        """Whether a value meets the bound; one that isn't known doesn't."""
        if value is None or math.isnan(value):
            return False
        return value >= self.bound if self.sign == ">=" else value <= self.bound


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def parse_all(texts: tuple[str, ...] | list[str]) -> tuple[Condition, ...]:
    """Reads all conditions of a configuration.

    Raises:
      ValueError: none, one that is given twice, or one that cannot be read.
    """
    conditions = tuple(Condition.parse(text) for text in texts)
    if not conditions:
        raise ValueError(
            f"expected at least one condition {_GRAMMAR}: a model is blessed by nothing else. Received: none"
        )
    if len(set(conditions)) != len(conditions):
        raise ValueError(f"expected different conditions. Received: {[str(condition) for condition in conditions]}")
    return conditions


def asked_conditions(text: str, sets: Sequence[str] | None = None) -> tuple[Condition, ...]:
    """Conditions as a person writes them in a line, with commas between; brackets and quotes around them don't count.

    Args:
      text: the line, e.g. "lfw.accuracy >= 0.95, lfw.accuracy change >= 0".
      sets: that are evaluated; None looks at no set: one without data holds no condition.

    Raises:
      DataError: none, one that cannot be read, or one on another set.
    """
    texts = [one.strip().strip("\"'") for one in text.strip().removeprefix("[").removesuffix("]").split(",")]
    try:
        conditions = parse_all([one for one in texts if one])
    except ValueError as error:
        raise DataError(f"conditions: {error}") from error
    for name in sets_of(conditions):
        if sets is not None and name not in sets:
            raise DataError(f"conditions: expected sets that are evaluated, {', '.join(sets)}. Received: {name!r}")
    return conditions


def sets_of(conditions: tuple[Condition, ...]) -> tuple[str, ...]:
    """The sets that are named, in order, each once."""
    return tuple(dict.fromkeys(condition.set for condition in conditions))
