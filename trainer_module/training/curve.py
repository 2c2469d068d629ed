"""The curve of a training run, in a small CSV beside the checkpoint and in the exported model."""

import csv
import dataclasses
import io
import math
import os
from collections.abc import Iterable

from arcface_common import filesystem

CURVE_FILE = "curve.csv"
MAX_CURVE_BYTES = 1 << 20  # 6,000 points of 50 bytes are 0.3 MB
_MOST = 2000  # points of a kind that are kept: more than a plot has pixels


@dataclasses.dataclass(frozen=True)
class Point:
    """What training came to after some steps.

    Attributes:
      step: optimizer steps that were done.
      loss: softmax cross-entropy with the margin, of that step's batch; None where only held-out images were judged.
      top_1: share of that batch's images whose nearest class centre, without margin, is their own, 0..1; None likewise.
      holdout_top_1: the same of the held-out images; None where they weren't judged after this step.
    """

    step: int
    loss: float | None = None
    top_1: float | None = None
    holdout_top_1: float | None = None


_FIELDS = tuple(field.name for field in dataclasses.fields(Point))


class Curve:
    """Collects points; of a longer training, every second, fourth ... is kept, and always the last one."""

    def __init__(self, points: Iterable[Point] = ()) -> None:
        """A curve of points, or an empty one."""
        self._batches, self._holdout = list[Point](), list[Point]()
        for point in points:
            (self._batches if point.holdout_top_1 is None else self._holdout).append(point)

    def batch(self, step: int, loss: float, top_1: float) -> None:
        """Adds what a step's batch came to."""
        _append(self._batches, Point(step, loss=loss, top_1=top_1))

    def holdout(self, step: int, top_1: float) -> None:
        """Adds what the held-out images came to after a step."""
        _append(self._holdout, Point(step, holdout_top_1=top_1))

    def to_csv(self) -> str:
        """All points in the order of their steps, under a head."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_FIELDS)
        for point in sorted([*self._batches, *self._holdout], key=lambda point: point.step):
            step, *values = dataclasses.astuple(point)
            writer.writerow([step, *("" if value is None else f"{value:.6g}" for value in values)])
        return text.getvalue()

    def write(self, run_dir: str) -> None:
        """Writes `curve.csv` aside, then renames it into place."""
        filesystem.write_file(os.path.join(run_dir, CURVE_FILE), self.to_csv().encode(), run_dir)


def _append(points: list[Point], point: Point) -> None:
    points.append(point)
    if len(points) > 2 * _MOST:
        del points[1::2]  # of an odd number: the first and the last one stay


def read_curve(text: str) -> list[Point]:
    """The inverse of `Curve.to_csv`.

    Raises:
      ValueError: anything else.
    """
    head, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    if tuple(head) != _FIELDS or any(len(row) != len(_FIELDS) for row in rows):
        raise ValueError(f"expected a CSV of {', '.join(_FIELDS)}. Received: {text[:80]!r}")
    points = [Point(int(row[0]), *(float(cell) if cell else None for cell in row[1:])) for row in rows]
    if not all(map(_is_finite, points)):
        raise ValueError("expected finite numbers. Received: others")
    return points


def _is_finite(point: Point) -> bool:
    values: Iterable[float | None] = dataclasses.astuple(point)
    return all(value is None or math.isfinite(value) for value in values)
