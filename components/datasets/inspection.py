"""What is in a folder as InsightFace publishes it, and what is wrong with it. numpy and Pillow only.

One pass over `train.rec` in the order of its byte offsets: every record is read and checked as ingest checks it, by
label, header, size and end; no pixel is decoded. Of the verification sets, images of other sizes are.

Memory: an image leaves a digest (16 bytes) and a label (4 bytes) in numpy arrays, beside its index entry as it is and
by offset (34 bytes); the search for duplicates takes copies, an order and group starts (64 bytes). So about 118 bytes
an image at the peak: 0.7 GB for the 5.8 million of MS1M. A verification set is held whole while it is looked at (75 MB
for LFW's 6,000 pairs).
"""

import collections
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from arcface_common import features
from arcface_common.aside import file_aside
from arcface_common.console import progress, say
from arcface_common.errors import DataError
from arcface_common.image_header import UPRIGHT, check_end, check_header
from components.datasets.inspection_report import DamagedRecord, DatasetReport, PerIdentity, SetReport
from components.datasets.watched_reader import WatchedReader
from components.formats import pair_attributes, recordio, verification_bin
from components.formats.verification_resize import check_pair_bytes, fit_images
from components.record_example_gen.checks import wrong_label

_NO_LABEL = -1  # the label is no identity
_DIGEST = np.dtype([("high", "<u8"), ("low", "<u8")])
_KEPT = 20  # places of one kind that a report lists; it counts them all


def inspect(folder: str | os.PathLike[str], *, write_index: bool = False) -> DatasetReport:
    """Looks through a data set's folder.

    Without `train.idx`, the index is first rebuilt by one scan of `train.rec`.

    Args:
      folder: with `train.rec` and maybe `train.idx`, or verification sets `<name>.bin`, or both.
      write_index: keep the rebuilt index as `train.idx`, if the layout that it gives is whole.

    Returns:
      The report; a record that cannot be read is in it, and the pass goes on at the next entry of the index.

    Raises:
      DataError: no such folder, neither `train.rec` nor a set, a broken `train.idx`, none beside a `train.rec` that a
        scan cannot get through, or one that `write_index` would overwrite.
    """
    folder = Path(folder)
    rec, idx = folder / recordio.REC_FILE, folder / recordio.IDX_FILE
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder as InsightFace publishes it. Received: no such folder")
    if not rec.is_file():
        if write_index or not _set_files(folder):
            raise DataError(
                f"{rec}: expected a RecordIO file as InsightFace publishes it (of folders of faces, "
                "`arcface-tfx convert` makes one). Received: no such file"
            )
        return DatasetReport(str(folder), sets=tuple(_inspect_sets(folder, np.empty(0, _DIGEST))))
    if write_index and idx.exists():
        raise DataError(f"{idx}: expected no index, which --write-index would overwrite. Received: an existing file")
    had_index = idx.exists()
    with WatchedReader(rec) as reader:
        rec_bytes = rec.stat().st_size
        index = recordio.read_whole_index(reader, str(idx)) if had_index else recordio.rebuild_index(reader)
        layout, layout_error = None, None
        try:
            layout = recordio.read_layout(reader, index)
        except recordio.RecordError as error:  # the records themselves can be counted all the same
            layout_error = str(error)
        keep = write_index and layout is not None and _has_all(layout, index)
        if keep:
            _write_aside(idx, index)
        elif write_index:
            say(f"{idx} is not written: not every record of {rec.name} has a place in the layout")
        elif not had_index:
            say(f"{idx} is missing: rebuilt for this look by a scan of {rec.name}; --write-index keeps it")
        records = _Pass(reader, index, layout)
        records.run()
    figures = records.figures()
    announced = layout.num_identities if layout else None
    differences = recordio.property_remarks(str(folder), figures["identities"], announced)
    return DatasetReport(
        path=str(folder),
        rec_bytes=rec_bytes,
        index="kept" if keep else "there" if had_index else "missing",
        layout_error=layout_error,
        has_header=records.has_header,
        announced_identities=announced,
        **{**figures, "remarks": (*figures["remarks"], *differences)},
        sets=tuple(_inspect_sets(folder, records.digests())),
    )


def _has_all(layout: recordio.DatasetLayout, index: recordio.Index) -> bool:
    """Whether each record is an image, an identity record or the header: of a scan, one with a damaged id is not."""
    header = layout.num_identities is not None
    return layout.num_images + len(layout.identity_keys) + header == len(index)


def _write_aside(path: Path, index: recordio.Index) -> None:
    with file_aside(path) as aside:
        recordio.write_index(str(aside), index.keys, index.offsets)


class _Pass:
    """One sequential pass over the records that an index names; without a layout, those with an image are the images.

    Attributes:
      has_header: whether key 0 is a header record.
    """

    def __init__(
        self, reader: recordio.RecordReader, index: recordio.Index, layout: recordio.DatasetLayout | None
    ) -> None:
        self.has_header = layout is not None and layout.num_identities is not None
        self._reader = reader
        self._layout = layout
        order = np.argsort(index.offsets, kind="stable")
        self._keys, self._offsets = index.keys[order], index.offsets[order]
        self._is_image = np.isin(self._keys, layout.image_keys) if layout else np.ones(len(order), np.bool_)
        self._labels = np.full(len(order), _NO_LABEL, np.int32)
        self._digests = np.zeros(len(order), _DIGEST)
        self._seen = np.zeros(len(order), np.bool_)  # positions that turned out to be readable images
        self._following = np.append(self._offsets[1:], 0)  # where the following record of the index begins
        self._unnamed: dict[int, int] = {}  # key of a record behind which lie images that the index lacks -> bytes
        self._image_bytes = 0
        self._turned = 0
        self._formats: collections.Counter[str] = collections.Counter()
        self._bad: dict[str, list[DamagedRecord]] = {"damaged": [], "label_errors": []}
        self._bad_counts: collections.Counter[str] = collections.Counter()

    def run(self) -> None:
        """Reads every record once."""
        entries = zip(map(int, self._keys), map(int, self._offsets), strict=True)  # lists would take 80 bytes a record
        bar = progress(entries, total=len(self._keys), description="inspect", unit="record")
        for position, (key, offset) in enumerate(bar):
            try:
                self._look_at(position, key, offset)
            except DataError as error:
                place, _, reason = f": {error}".partition(": expected")
                self._note("damaged", key, offset, f"expected{reason}" if reason else place[2:])

    def _look_at(self, position: int, key: int, offset: int) -> None:
        record = self._reader.read(offset, key=key)
        if lost := recordio.unnamed_bytes(self._reader, int(self._following[position])):
            self._unnamed[key] = lost
        without_image = recordio.is_without_image(record)
        if not self._is_image[position] or (self._layout is None and without_image):
            self.has_header |= key == 0 and without_image
            return
        header = check_header(record.payload, setting=features.MAX_PIXELS_SETTING)
        check_end(record.payload)
        kind = "JPEG" if record.payload.startswith(features.IMAGE_MAGICS[0]) else "PNG"
        self._formats[f"{kind} {header.width}x{header.height}"] += 1
        self._turned += header.orientation != UPRIGHT
        self._image_bytes += len(record.payload)
        self._digests[position] = _digest(record.payload)
        self._seen[position] = True
        if (wrong := wrong_label(record.label)) is None:
            self._labels[position] = int(record.label)
        else:
            self._note("label_errors", key, offset, wrong)

    def _note(self, kind: str, key: int, offset: int, reason: str) -> None:
        self._bad_counts[kind] += 1
        if len(self._bad[kind]) < _KEPT:
            self._bad[kind].append(DamagedRecord(key, offset, reason))

    def digests(self) -> np.ndarray:
        """Digests of the readable images, [N] of 16 bytes, ascending."""
        return np.unique(self._digests[self._seen])

    def figures(self) -> dict[str, Any]:
        """What the pass found, by the names of `DatasetReport`'s fields."""
        keys, labels, digests = (x[self._seen] for x in (self._keys, self._labels, self._digests))
        shared, examples = _shared(keys, labels, digests)
        known = labels[labels != _NO_LABEL]
        per_label = np.unique(known, return_counts=True)[1]
        remarks = recordio.unnamed_remarks(self._unnamed)
        if self._layout is not None:
            labelled = labels != _NO_LABEL
            differences = recordio.label_remarks(self._layout, keys[labelled], known, len(per_label))
            remarks = (*self._layout.remarks, *remarks, *differences)
        return {
            "remarks": remarks,
            "turned": self._turned,
            "images": len(keys),
            "identities": len(per_label),
            "image_bytes": self._image_bytes,
            "formats": dict(self._formats.most_common()),
            "per_identity": PerIdentity.of(per_label),
            "shared": shared,
            "shared_keys": examples,
            "damaged": self._bad_counts["damaged"],
            "first_damaged": tuple(self._bad["damaged"]),
            "label_errors": self._bad_counts["label_errors"],
            "first_label_errors": tuple(self._bad["label_errors"]),
        }


def _digest(image: bytes) -> np.void:
    return np.frombuffer(hashlib.blake2b(image, digest_size=16).digest(), _DIGEST)[0]


def _shared(keys: np.ndarray, labels: np.ndarray, digests: np.ndarray) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """How many pictures occur, byte for byte, under more than one identity, and the keys of the first of them.

    Takes int64 [N], int32 [N] and [N] of 16 bytes.
    """
    if not len(keys):
        return 0, ()
    order = np.lexsort((keys, digests["low"], digests["high"]))
    ordered, owners = digests[order], labels[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    several = np.flatnonzero(np.minimum.reduceat(owners, starts) != np.maximum.reduceat(owners, starts))
    ends = np.append(starts[1:], len(order))
    first = several[np.argsort(keys[order[starts[several]]])[:_KEPT]]
    groups = tuple(tuple(keys[order[starts[i] : ends[i]]].tolist()) for i in first)
    return len(several), groups


def _set_files(folder: Path) -> list[Path]:
    """The verification sets, by name; `._lfw.bin`, say, is what macOS leaves on other file systems."""
    return sorted(path for path in folder.glob("*.bin") if path.is_file() and not path.name.startswith("."))


def _inspect_sets(folder: Path, training: np.ndarray) -> Iterator[SetReport]:
    """What each set holds, and how many of its images the training images' digests contain."""
    for path in progress(_set_files(folder), description="verification sets", unit="set"):
        try:
            yield _inspect_set(path, training)
        except DataError as error:
            yield SetReport(path.stem, 0, 0, error=str(error))


def _inspect_set(path: Path, training: np.ndarray) -> SetReport:
    """Reads a set as evaluation does, with its attributes.

    Raises:
      DataError: what a run would refuse.
    """
    found = verification_bin.read(path)
    fitted = fit_images(found, str(path))
    check_pair_bytes(fitted.pairs, str(path))
    attributes = path.with_name(pair_attributes.attributes_file(path.stem))
    if attributes.exists():
        pair_attributes.read_pair_attributes(attributes, len(found))
    images = set(found.images)
    trained_on = int(np.isin(np.array([_digest(image) for image in images]), training).sum())
    same = int(found.is_same.sum())
    return SetReport(path.stem, len(found), same, len(images), fitted.resized, fitted.turned, trained_on)
