"""What `inspect` found in a data set's folder, as values and as text."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from arcface_common.features import IMAGE_SIZE

_SIZE = f"{IMAGE_SIZE}x{IMAGE_SIZE}"
_SHOWN = 5  # places of one kind in the text
_BAR = 40  # characters of the histogram's longest bar


@dataclasses.dataclass(frozen=True)
class DamagedRecord:
    """A record that is not what it should be: key, byte offset in `train.rec`, what was expected and received."""

    key: int
    offset: int
    reason: str


@dataclasses.dataclass(frozen=True)
class SetReport:
    """The verification set `<name>.bin`.

    Attributes:
      name: its name.
      pairs: how many.
      same: how many of one identity.
      images: different ones.
      resized: images that are not 112x112, which evaluation resizes as InsightFace's reader does.
      turned: images that are turned as their EXIF orientation says.
      trained_on: images that are, byte for byte, in `train.rec` too.
      error: why the set cannot be used, or None.
    """

    name: str
    pairs: int
    same: int
    images: int = 0
    resized: int = 0
    turned: int = 0
    trained_on: int = 0
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class PerIdentity:
    """How many images the identities have; `histogram` is (from, to, identities), ends included: 1, 2 .. 3, 4 .. 7."""

    least: int
    median: float
    most: int
    histogram: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, counts: np.ndarray) -> Self:
        """From the number of images of each identity, int [C], each at least 1; all zeros where C is 0."""
        if not len(counts):
            return cls(0, 0.0, 0, ())
        powers = np.bincount(np.log2(counts).astype(np.int64))
        filled = range(int(np.flatnonzero(powers)[0]), len(powers))
        bins = tuple((2**i, 2 ** (i + 1) - 1, int(powers[i])) for i in filled)
        return cls(int(counts.min()), float(np.median(counts)), int(counts.max()), bins)


@dataclasses.dataclass(frozen=True)
class DatasetReport:
    """What a data set's folder holds.

    Attributes:
      path: the folder.
      rec_bytes: size of `train.rec`; 0 where the folder has none, and is one of verification sets alone.
      index: "there", "missing" (it was rebuilt to look), or "kept" (rebuilt and written).
      layout_error: why header and identity records cannot be made sense of, or None.
      has_header: InsightFace's form with a header record; else im2rec's plain images.
      announced_identities: as the header record says, or None.
      remarks: where index, header, identity records and labels differ; nothing that ingest refuses.
      images: readable ones.
      identities: different labels of them.
      image_bytes: encoded, without the records' headers.
      formats: "JPEG 112x112" -> images, the commonest first.
      turned: images that ingest turns as their EXIF orientation says.
      per_identity: images per identity.
      shared: pictures that occur, byte for byte, under more than one identity.
      shared_keys: the keys of the first of them.
      damaged: records that cannot be read.
      first_damaged: the first of them.
      label_errors: images whose label is no identity.
      first_label_errors: the first of them.
      sets: the verification sets, by name.
    """

    path: str
    rec_bytes: int = 0
    index: str = "missing"
    layout_error: str | None = None
    has_header: bool = False
    announced_identities: int | None = None
    remarks: tuple[str, ...] = ()
    images: int = 0
    identities: int = 0
    image_bytes: int = 0
    formats: dict[str, int] = dataclasses.field(default_factory=dict)
    turned: int = 0
    per_identity: PerIdentity = PerIdentity(0, 0.0, 0, ())
    shared: int = 0
    shared_keys: tuple[tuple[int, ...], ...] = ()
    damaged: int = 0
    first_damaged: tuple[DamagedRecord, ...] = ()
    label_errors: int = 0
    first_label_errors: tuple[DamagedRecord, ...] = ()
    sets: tuple[SetReport, ...] = ()

    @property
    def other_sizes(self) -> int:
        """Images that are not 112x112."""
        return sum(count for name, count in self.formats.items() if not name.endswith(f" {_SIZE}"))

    @property
    def problems(self) -> list[str]:
        """What a training run would stumble over, each in a few words; empty for a clean folder."""
        found = []
        if self.layout_error:
            found.append("broken header or identity records")
        if self.damaged:
            found.append(_count(self.damaged, "damaged record"))
        if self.label_errors:
            found.append(_count(self.label_errors, "label") + " out of range")
        if self.other_sizes:
            found.append(f"{_count(self.other_sizes, 'image')} not {_SIZE} (--set ingest.any_size=true takes them)")
        found += [f"{x.name}.bin is no usable verification set" for x in self.sets if x.error]
        found += [f"{x.name}.bin shares images with train.rec" for x in self.sets if x.trained_on]
        return found

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values, and `problems`."""
        return {**dataclasses.asdict(self), "problems": self.problems}

    def lines(self) -> Iterator[str]:
        """The report for a person, one fact a line."""
        if self.rec_bytes:
            yield from self._record_lines()
        else:
            yield f"{self.path}: verification sets alone, no train.rec"
        yield from self._set_lines()
        if not self.rec_bytes:
            return
        yield f"duplicates    {_count(self.shared, 'picture')}, byte for byte, under more than one identity"
        for keys in self.shared_keys[:_SHOWN]:
            yield f"{'':13} keys {' = '.join(map(str, keys[:_SHOWN]))}{' = ...' if len(keys) > _SHOWN else ''}"
        for remark in self.remarks:
            yield f"remark        {remark}"
        if self.layout_error:
            yield f"layout        {self.layout_error}"
        yield from _places("damaged", self.damaged, self.first_damaged)
        yield from _places("label error", self.label_errors, self.first_label_errors)

    def _record_lines(self) -> Iterator[str]:
        form = "header record" if self.has_header else "im2rec's plain images, no header record"
        if self.layout_error:
            form = "broken header or identity records"
        index = {"there": "with train.idx", "missing": "without train.idx", "kept": "train.idx written"}[self.index]
        announced = "" if self.announced_identities is None else f" ({self.announced_identities:,} announced)"
        per = self.per_identity
        yield f"{self.path}: {form}, {index}"
        yield f"identities    {self.identities:,}{announced}"
        yield f"images        {self.images:,} in {_bytes(self.image_bytes)}; train.rec {_bytes(self.rec_bytes)}"
        formats = [f"{name}: {count:,}" for name, count in self.formats.items()]
        yield f"formats       {', '.join(formats[:_SHOWN])}{', ...' if len(formats) > _SHOWN else ''}"
        yield f"per identity  min {per.least:,}, median {per.median:,g}, max {per.most:,}"
        if self.turned:
            yield f"turned        {_count(self.turned, 'image')}, as their EXIF orientation says"
        yield from self._histogram()

    def _set_lines(self) -> Iterator[str]:
        for found in self.sets:
            figures = f"{found.pairs:,} pairs: {found.same:,} same, {found.pairs - found.same:,} different"
            yield f"{found.name + '.bin':13} {found.error or figures}"
            if found.resized:
                yield f"{'':13} {_count(found.resized, 'image')} of {found.images:,} not {_SIZE}: resized (bicubic)"
            if found.turned:
                yield f"{'':13} {_count(found.turned, 'image')} of {found.images:,} turned by EXIF orientation"
            if found.trained_on:
                shared = f"{_count(found.trained_on, 'image')} of {found.images:,}"
                yield f"{'':13} WARNING: {shared} are in train.rec, too: figures on this set say nothing of new faces"

    def _histogram(self) -> Iterator[str]:
        most = max((count for *_, count in self.per_identity.histogram), default=0)
        for begin, end, count in self.per_identity.histogram:
            span = str(begin) if begin == end else f"{begin}-{end}"
            yield f"  {span:>11} {'#' * -(-_BAR * count // most):{_BAR}} {count:,}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bytes(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.2f} MB"


def _places(title: str, number: int, first: tuple[DamagedRecord, ...]) -> Iterator[str]:
    for place in first[:_SHOWN]:
        yield f"{title:13} key {place.key}, byte offset {place.offset}: {place.reason}"
    if number > _SHOWN:
        yield f"{'':13} and {number - _SHOWN:,} more"
