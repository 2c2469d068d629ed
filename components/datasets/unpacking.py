"""The way back from InsightFace's files to images: of `train.rec` one folder an identity, of a `.bin` a list, too.

No byte of an image changes. Of records, one is in memory at a time; a verification set is read whole, as everywhere.
Nothing that a file says becomes part of a path, but for the names of `identities.txt`, which are looked at first. numpy
and the standard library only.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from arcface_common.artifacts import PAIRS_FILE
from arcface_common.aside import folder_aside
from arcface_common.console import progress, say
from arcface_common.errors import DataError
from arcface_common.features import JPEG_MAGIC, MAX_PIXELS_SETTING
from arcface_common.image_header import ImageError, check_end, check_header
from components.datasets.set_people import chained_people, contradictions, listed_people, unknown_people
from components.datasets.skipped import Skipped
from components.datasets.watched_reader import WatchedReader
from components.formats import recordio, verification_bin
from components.formats.identity_names import IDENTITIES, WITHOUT, identity_name, is_folder_name, is_label, read_names
from components.formats.pair_attributes import attributes_file
from components.record_example_gen.checks import wrong_label

_DIGITS = 7  # of a label, which names a folder where nothing else does


@dataclasses.dataclass(frozen=True)
class UnpackReport:
    """What was written.

    Attributes:
      images: files.
      identities: folders.
      pairs: lines of the list; None for records.
      skipped: lines about what can't be used.
      remarks: what is odd.
    """

    images: int
    identities: int
    pairs: int | None = None
    skipped: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For a person."""
        what = f"{self.images:,} images in {self.identities:,} folders"
        pairs = [] if self.pairs is None else [f"{PAIRS_FILE}: {self.pairs:,} pairs"]
        return [what, *pairs, *self.remarks, *self.skipped]


def unpack(file: str | os.PathLike[str], out: str | os.PathLike[str], *, skip_bad: bool = False) -> UnpackReport:
    """Writes what a file holds into a new folder, which appears complete or not at all.

    Args:
      file: a `.rec` file, maybe with its `.idx` and `identities.txt` beside it, or a verification set's `.bin`.
      out: the folder to make: one folder an identity, as `convert` reads it. Of a set, `pairs.txt` lists the pairs; an
        identity is who the column `identity` of `<set>.csv` says, else who is on the images of a chain of pairs of one
        person, which is said, since one person may then have several folders.
      skip_bad: leave out what can't be used, and list it in `skipped.csv`.

    Returns:
      What was written.

    Raises:
      DataError: `out` exists, `file` is neither, it is broken beyond single records, `identities.txt` has no name for a
        label or one that is no folder's, `<set>.csv` isn't what it should be, or, without `skip_bad`, records that
        can't be used (up to 20 are named).
    """
    file, out = Path(file), Path(out)
    if os.path.lexists(out):
        raise DataError(f"{out}: expected a folder that doesn't exist yet. Received: an existing one")
    if file.suffix not in (".rec", ".bin"):
        raise DataError(f"{file}: expected a name that ends in .rec or .bin. Received: {file.suffix or 'no ending'}")
    with folder_aside(out) as partial:
        with Skipped(partial, "records" if file.suffix == ".rec" else "images", skip_bad) as bad:
            report = (_unpack_records if file.suffix == ".rec" else _unpack_set)(file, partial, bad)
            bad.check()
        if not report.images:
            raise DataError(f"{file}: expected an image that can be used. Received: none{bad.first()}")
    return dataclasses.replace(report, skipped=tuple(bad.lines()))


def _unpack_records(rec: Path, out: Path, bad: Skipped) -> UnpackReport:
    """Every record with an image, by the label of its own; header and identity records have none."""
    idx = rec.with_suffix(".idx")
    names = read_names(str(rec.with_name(IDENTITIES)))
    images = 0
    folders: set[str] = set()
    unnamed: dict[int, int] = {}  # key of a record behind which lie images that the index lacks -> bytes
    with WatchedReader(rec) as reader:
        if idx.exists():
            index = recordio.read_whole_index(reader, str(idx))
        else:
            say(f"{idx} is missing: rebuilt by a scan of {rec.name}")
            index = recordio.rebuild_index(reader)
        digits = len(str(index.keys.max())) if len(index) else 0
        order = np.argsort(index.offsets, kind="stable")
        offsets = index.offsets[order]
        entries = zip(map(int, index.keys[order]), map(int, offsets), map(int, np.append(offsets[1:], 0)), strict=False)
        for key, offset, following in progress(entries, total=len(order), description="unpack", unit="record"):
            try:
                record = reader.read(offset, key=key)
                if lost := recordio.unnamed_bytes(reader, following):
                    unnamed[key] = lost
                if recordio.is_without_image(record):
                    continue
                folder = _folder(record, names, rec)
                ending = _ending(record.payload)
            except (recordio.RecordError, ImageError) as error:
                _, _, reason = str(error).partition("expected")
                bad.note(f"{rec}, key {key}, byte offset {offset}", f"expected{reason}")
                continue
            if folder not in folders:
                (out / folder).mkdir()
                folders.add(folder)
            (out / folder / f"{key:0{digits}d}{ending}").write_bytes(record.payload)
            images += 1
    said = recordio.property_remarks(str(rec.parent), len(folders)) if rec.name == recordio.REC_FILE else ()
    remarks = (*recordio.unnamed_remarks(unnamed), *said)
    return UnpackReport(images, len(folders), remarks=remarks)


def _folder(record: recordio.Record, names: dict[int, str] | None, rec: Path) -> str:
    """The name of an image's folder, which is a single one below the folder that is made.

    Raises:
      RecordError: the label is no identity.
      DataError: it has no name, though others do.
    """
    if (wrong := wrong_label(record.label)) is not None:
        raise recordio.RecordError(wrong)
    label = int(record.label)
    if names is None:
        return f"{label:0{_DIGITS}d}"
    if label not in names:
        where = rec.with_name(IDENTITIES)
        raise DataError(
            f"{where}: expected a name for each label of {rec.name} ({WITHOUT}). Received: none for {label}"
        )
    return names[label]


def _ending(image: bytes) -> str:
    """What an image's file name ends in, by what its bytes are.

    Raises:
      ImageError: no whole JPEG or PNG.
    """
    check_header(image, setting=MAX_PIXELS_SETTING)
    check_end(image)
    return ".jpg" if image.startswith(JPEG_MAGIC) else ".png"


def _unpack_set(file: Path, out: Path, bad: Skipped) -> UnpackReport:
    """The different images of a set, by the place where each comes first, and the list of its pairs."""
    found = verification_bin.read(file)
    place: dict[bytes, int] = {}
    for position, image in enumerate(found.images):
        place.setdefault(image, position)
    endings: dict[int, str] = {}
    for image, position in place.items():
        try:
            endings[position] = _ending(image)
        except DataError as error:
            bad.note(f"{file}, pair {position // 2}, {'second' if position % 2 else 'first'} image", str(error))
    places = [place[image] for image in found.images]
    pairs = [(a, b, same) for a, b, same in zip(places[::2], places[1::2], found.is_same.tolist(), strict=True)]
    whole = [pair for pair in pairs if pair[0] in endings and pair[1] in endings]
    people = listed_people(file, places)
    digits = len(str(len(places)))
    folders = _folders_of_people(people, file) if people else _numbered(chained_people(whole), digits)
    paths = {x: f"{folders.get(x, f'{x:0{digits}d}')}/{x:0{digits}d}{ending}" for x, ending in endings.items()}
    for image, position in progress(place.items(), total=len(place), description="unpack", unit="img"):
        if position in paths:
            path = out / paths[position]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(image)
    (out / PAIRS_FILE).write_text("".join(f"{paths[a]}\t{paths[b]}\t{int(same)}\n" for a, b, same in whole))
    remarks = [f"warning: {len(pairs) - len(whole):,} more pairs left out with them"] if len(whole) < len(pairs) else []
    return UnpackReport(
        len(paths),
        len({os.path.dirname(path) for path in paths.values()}),
        len(whole),
        remarks=(*remarks, *contradictions(whole, people), *([] if people else [unknown_people(file)])),
    )


def _numbered(people: Mapping[int, int], digits: int) -> dict[int, str]:
    """Folder of each image, called by the first image of its person."""
    return {image: f"{person:0{digits}d}" for image, person in people.items()}


def _folders_of_people(people: Mapping[int, str], file: Path) -> dict[int, str]:
    """Folder of each image, called by the name that `identities.txt` has for its label, else by the label.

    Raises:
      DataError: a label that no folder can be called by.
    """
    table = file.with_name(attributes_file(file.stem))
    names = read_names(str(file.with_name(IDENTITIES))) or {}
    folders: dict[str, str] = {}  # label -> folder
    for label in dict.fromkeys(people.values()):
        number = int(label) if is_label(label) else None
        folder = label if number is None else names.get(number, f"{number:0{_DIGITS}d}")
        if not is_folder_name(folder) or folder == PAIRS_FILE:
            raise DataError(f"{table}: expected identities that a folder can be called by. Received: {label[:80]!r}")
        folders[label] = folder
    if len({identity_name(folder) for folder in folders.values()}) < len(folders):
        raise DataError(f"{table}: expected a folder of its own for each identity. Received: one for two labels")
    return {image: folders[label] for image, label in people.items()}
