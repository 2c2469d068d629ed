"""The list of photos beside their crops: `faces.csv`, one row a photo. Standard library and numpy only."""

import csv
import dataclasses
import json
from collections.abc import Iterable
from typing import Self, TextIO

import numpy as np

UNREADABLE = "unreadable"

_POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
COLUMNS = (
    "file",
    *("left", "top", "right", "bottom", "score"),
    *(f"{point}_{axis}" for point in _POINTS for axis in "xy"),
    *("size", "upscale", "padding", "sharpness", "faces", "rejected"),
)


@dataclasses.dataclass(frozen=True)
class FaceRow:
    """What became of a photo. Its crop has the photo's name; there is none where `rejected` says why.

    Attributes:
      file: path below the folder of photos, with "/".
      faces: how many the detector found.
      rejected: why there is no crop, "kind" or "kind: more"; "" where there is one.
      box: left, top, right and bottom of the face that counts, pixels of the upright photo; None where none was found,
        and so for all that follows.
      score: the detector's, 0..1.
      points: x and y of eyes, nose and corners of the mouth, ten numbers in pixels.
      size: shorter side of the box, pixels.
      upscale: pixels of the crop for each of the photo along a line.
      padding: share of the crop that lies outside of the photo, 0..1.
      sharpness: variance of the crop's Laplacian; None where there is no crop.
    """

    file: str
    faces: int = 0
    rejected: str = ""
    box: tuple[float, ...] | None = None
    score: float | None = None
    points: tuple[float, ...] | None = None
    size: float | None = None
    upscale: float | None = None
    padding: float | None = None
    sharpness: float | None = None

    @property
    def kind(self) -> str:
        """The reason without its figures; "" where there is a crop."""
        return self.rejected.partition(":")[0]

    def to_json(self) -> str:
        """One line that `from_json` reads; also of names that are no UTF-8."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The inverse of `to_json`."""
        values = json.loads(line)
        for name in ("box", "points"):
            values[name] = values[name] and tuple(values[name])
        return cls(**values)

    def _cells(self) -> list[str | int]:
        """By COLUMNS; empty where nothing is known."""
        numbers = (*(self.box or [None] * 4), self.score, *(self.points or [None] * 10))
        numbers += (self.size, self.upscale, self.padding, self.sharpness)
        shown = ["" if number is None else f"{np.round(number, 4):g}" for number in numbers]
        return [self.file, *shown, self.faces, self.rejected]


def write_faces(file: TextIO, rows: Iterable[FaceRow]) -> None:
    """Writes the header and a line for each row; pixels to a hundredth where they have up to four digits."""
    writer = csv.writer(file)  # CRLF: with a bare LF, a CR in a name would go unquoted
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(row._cells())
