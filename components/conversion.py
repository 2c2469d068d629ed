"""A folder of aligned faces, and a list of pairs of them, become the files that InsightFace publishes.

Images are read one after the other and only their paths are kept (340 bytes an image). A verification set is a single
pickle, so its images are all in memory while it is written: 75 MB for LFW's 6,000 pairs. The same input gives the same
bytes, in whatever order the file system lists it. Pillow, numpy and the standard library only.
"""

import collections
import dataclasses
import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from components import verification_bin
from components.recordio import write_layout
from trainer_module import features
from trainer_module.console import progress
from trainer_module.errors import DataError

IDENTITIES = "identities.txt"  # lines "label TAB folder"

_SUFFIXES = (".jpg", ".jpeg", ".png")
_SIDES = (features.IMAGE_SIZE, features.IMAGE_SIZE)
_SIZE = f"{features.IMAGE_SIZE}x{features.IMAGE_SIZE}"
_JPEG_QUALITY = 95


@dataclasses.dataclass(frozen=True)
class PairList:
    """A list of pairs, and the verification set that it becomes.

    Attributes:
      path: text. Either LFW's `pairs.txt`: a first line "folds n" or "n", then "name n1 n2" (same) and "name1 n1 name2
        n2" (different), which are files `name/name_0001.jpg`, `.jpeg` or `.png`. Or lines "path_a path_b 0|1", 1 for
        same. Fields are separated by tabs, or else by spaces.
      name: the set becomes `<name>.bin`.

    Raises:
      DataError: a name that is no plain file name.
    """

    path: str
    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise DataError(f"expected a set's name of letters, digits, _ and -. Received: {self.name!r}")


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """What was written.

    Attributes:
      identities: folders with images, each a label.
      images: images in `train.rec`.
      resized: images, of `train.rec` and of the set, that had another size and were encoded anew.
      left_out: files and folders that are no image of an identity, the first few by name.
      left_out_count: how many there are.
      set_name: the verification set, or None.
      pairs: its pairs.
      same: those of one identity.
      known: its images that are in `train.rec`, too.
      set_images: its different images.
    """

    identities: int
    images: int
    resized: int
    left_out: tuple[str, ...]
    left_out_count: int
    set_name: str | None = None
    pairs: int = 0
    same: int = 0
    known: int = 0
    set_images: int = 0

    def lines(self) -> list[str]:
        """The report for a person."""
        lines = [f"train.rec: {self.images:,} images of {self.identities:,} identities"]
        if self.set_name:
            different = self.pairs - self.same
            lines.append(f"{self.set_name}.bin: {self.pairs:,} pairs: {self.same:,} same, {different:,} different")
        if self.resized:
            lines.append(f"images resized to {_SIZE}, JPEG quality {_JPEG_QUALITY}: {self.resized:,}")
        if self.left_out_count:
            more = ", ..." if self.left_out_count > len(self.left_out) else ""
            lines.append(f"left out, no images: {self.left_out_count:,} ({', '.join(self.left_out)}{more})")
        if self.known:
            lines.append(
                f"warning: {self.known:,} of the {self.set_images:,} images of {self.set_name}.bin are in train.rec, "
                "too: a model trained on it must not be judged by this set"
            )
        return lines


def convert(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    pairs: PairList | None = None,
    resize: bool = False,
) -> ConversionReport:
    """Writes `train.rec`, `train.idx`, `property`, `identities.txt` and maybe a verification set into a new folder.

    Labels follow the sorted names of the identities' folders, keys the sorted names of the files. An image of 112x112
    pixels is copied byte for byte (it is decoded once, to see that it is whole). The folder appears complete or not at
    all: it is written beside its place and renamed.

    Args:
      folder: one folder an identity, with JPEG or PNG files; hidden files are left alone.
      out: the folder to make.
      pairs: a list of pairs whose files lie in `folder`.
      resize: resize images of another size bilinearly and encode them as JPEG of quality 95.

    Returns:
      What was written.

    Raises:
      DataError: `out` exists or lies in `folder`, `folder` holds no identity, a file is no whole image or, without
        `resize`, not of 112x112 pixels, a line of the list is no pair or names a file that isn't there.
      RecordError: more than 2**24 images and identities, which the labels cannot hold.
    """
    folder, out = Path(folder), Path(out)
    if os.path.lexists(out):
        raise DataError(f"{out}: expected a folder that doesn't exist yet. Received: an existing one")
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with one folder an identity. Received: no such folder")
    if folder.resolve() in out.resolve().parents:
        raise DataError(f"{out}: expected a folder outside of {folder}. Received: one in it")
    found = _find(folder)
    listed = _read_pairs(Path(pairs.path), folder) if pairs else []
    images = _Images(resize)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        _write_train(partial, found, images)
        report = ConversionReport(
            identities=len(found.identities),
            images=sum(map(len, found.identities.values())),
            resized=0,
            left_out=tuple(found.left_out[:5]),
            left_out_count=len(found.left_out),
        )
        if pairs:
            report = _write_pairs(partial / f"{pairs.name}.bin", listed, images, found, report)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return dataclasses.replace(report, resized=len(images.resized))


@dataclasses.dataclass(frozen=True)
class _Found:
    """The identities' images, sorted, and what else lies there."""

    identities: dict[str, list[Path]]
    left_out: list[str]


def _find(folder: Path) -> _Found:
    identities: dict[str, list[Path]] = {}
    left_out: list[str] = []
    for entry in _visible(folder):
        if not entry.is_dir():
            if entry.suffix.lower() in _SUFFIXES:
                raise DataError(f"{entry}: expected images in one folder an identity. Received: an image beside them")
            left_out.append(entry.name)
            continue
        if any(x in entry.name for x in "\t\r\n"):
            raise DataError(f"{folder}: expected folder names without tab and newline. Received: {entry.name!r}")
        files: list[Path] = []
        for path in _visible(entry):
            if path.suffix.lower() in _SUFFIXES and path.is_file():
                files.append(path)
            else:
                left_out.append(f"{entry.name}/{path.name}")
        if files:
            identities[entry.name] = files
        else:
            left_out.append(f"{entry.name}/")
    if not identities:
        raise DataError(f"{folder}: expected one folder an identity with JPEG or PNG files. Received: no such file")
    return _Found(identities, left_out)


def _visible(folder: Path) -> list[Path]:
    """What lies in a folder, sorted by name, without the hidden."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


class _Images:
    """Reads single images, in the form in which they are stored.

    Attributes:
      resized: paths of those that were encoded anew.
    """

    def __init__(self, resize: bool) -> None:
        self._resize = resize
        self.resized: set[Path] = set()

    def read(self, path: Path) -> bytes:
        """Encoded 112x112 pixels, the file's own bytes where it has that size.

        Raises:
          DataError: no whole JPEG or PNG, or one of another size that may not be resized.
        """
        data = path.read_bytes()
        if not data.startswith(features.IMAGE_MAGICS):
            raise DataError(f"{path}: expected a JPEG or PNG image. Received: bytes {data[:8].hex(' ') or 'none'}")
        try:
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                if image.size != _SIDES and not self._resize:
                    raise DataError(
                        f"{path}: expected {_SIZE} pixels (--resize accepts others). "
                        f"Received: {image.width}x{image.height}"
                    )
                image.load()
                return data if image.size == _SIDES else self._encode(image, path)
        except DataError:
            raise
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: expected a whole JPEG or PNG. Received: {error}") from error

    def _encode(self, image: Image.Image, path: Path) -> bytes:
        buffer = io.BytesIO()
        pixels = image.convert("RGB").resize(_SIDES, Image.Resampling.BILINEAR)
        pixels.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        self.resized.add(path)
        return buffer.getvalue()


def _write_train(folder: Path, found: _Found, images: _Images) -> None:
    """The training set, and `identities.txt`."""
    counts = [len(files) for files in found.identities.values()]
    with progress(total=sum(counts), description="convert", unit="img") as bar:

        def read(files: Iterable[Path]) -> Iterator[bytes]:
            for path in files:
                yield images.read(path)
                bar.update()

        write_layout(folder, counts, map(read, found.identities.values()))
    names = "".join(f"{label}\t{name}\n" for label, name in enumerate(found.identities))
    (folder / IDENTITIES).write_bytes(os.fsencode(names))


def _write_pairs(
    path: Path, pairs: list[tuple[Path, Path, bool]], images: _Images, found: _Found, report: ConversionReport
) -> ConversionReport:
    """The verification set, in the list's order; an image that several pairs share is read once."""
    paths = list(dict.fromkeys(x for pair in pairs for x in pair[:2]))
    read = {x: images.read(x) for x in progress(paths, description=path.name, unit="img")}
    same = [pair[2] for pair in pairs]
    verification_bin.write(path, [read[x] for pair in pairs for x in pair[:2]], same)
    trained = {os.path.realpath(files[0].parent) for files in found.identities.values()}
    known = sum(os.path.dirname(os.path.realpath(x)) in trained for x in paths)
    return dataclasses.replace(
        report, set_name=path.stem, pairs=len(pairs), same=sum(same), known=known, set_images=len(paths)
    )


def _read_pairs(path: Path, folder: Path) -> list[tuple[Path, Path, bool]]:
    """The files of each pair and whether they show one identity, in the list's order.

    Raises:
      DataError: no such list, no pair in it, a line that is none, a file that isn't there, or another number of pairs
        than LFW's first line says.
    """
    lines = list(_lines(path))
    if not lines:
        raise DataError(f"{path}: expected a list of pairs. Received: no line")
    number, first = lines[0]
    if not (len(first) <= 2 and all(x.isdecimal() for x in first)):
        return [_plain_pair(path, n, fields, folder) for n, fields in lines]
    pairs = [_lfw_pair(path, n, fields, folder) for n, fields in lines[1:]]
    each = int(first[-1]) * (int(first[0]) if len(first) == 2 else 1)
    kinds = collections.Counter(same for *_, same in pairs)
    if (kinds[True], kinds[False]) != (each, each) or not pairs:
        raise DataError(
            f"{path}, line {number}: expected {each} pairs of either kind, as that line says. "
            f"Received: {kinds[True]} same, {kinds[False]} different"
        )
    return pairs


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number, from 1, and fields of each line that isn't blank."""
    if not path.is_file():
        raise DataError(f"{path}: expected a list of pairs. Received: no such file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8. Received: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, [x.strip() for x in line.strip().split("\t")] if "\t" in line.strip() else line.split()


def _plain_pair(path: Path, number: int, fields: list[str], folder: Path) -> tuple[Path, Path, bool]:
    if len(fields) != 3 or fields[2] not in ("0", "1"):
        expected = '"path_a path_b 0|1" (a list in LFW\'s form begins with a line such as "10 300")'
        raise DataError(f"{path}, line {number}: expected {expected}. Received: {' '.join(fields)[:120]!r}")
    a, b = (_existing(path, number, [folder / x]) for x in fields[:2])
    return a, b, fields[2] == "1"


def _lfw_pair(path: Path, number: int, fields: list[str], folder: Path) -> tuple[Path, Path, bool]:
    if len(fields) not in (3, 4) or not all(x.isdecimal() for x in (fields[1], fields[-1])):
        expected = '"name n1 n2" or "name1 n1 name2 n2"'
        raise DataError(f"{path}, line {number}: expected {expected}. Received: {' '.join(fields)[:120]!r}")
    people = (fields[0], fields[-2] if len(fields) == 4 else fields[0])
    a, b = (
        _existing(path, number, [folder / name / f"{name}_{int(n):04d}{suffix}" for suffix in _SUFFIXES])
        for name, n in zip(people, (fields[1], fields[-1]), strict=True)
    )
    return a, b, len(fields) == 3


def _existing(path: Path, number: int, candidates: list[Path]) -> Path:
    """The first candidate that exists."""
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    others = "".join(f" or {x.suffix}" for x in candidates[1:])
    raise DataError(f"{path}, line {number}: expected a file {candidates[0]}{others}. Received: no such file")
