"""A folder of aligned faces, and a list of pairs of them, become the files that InsightFace publishes.

Images are read one after the other and only their paths are kept (340 bytes an image). A verification set is a single
pickle, so its images are all in memory while it is written: 75 MB for LFW's 6,000 pairs. The same input gives the same
bytes, in whatever order the file system lists it. Pillow, numpy and the standard library only.
"""

import dataclasses
import io
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from components import verification_bin
from components.identity_folders import IdentityFolders, find_identities
from components.image_header import UPRIGHT, ImageError, check_header
from components.image_pixels import decode, read_file, to_png
from components.pair_list import ListedPair, PairList, oddities, read_pairs
from components.recordio import write_layout
from trainer_module import features
from trainer_module.console import progress
from trainer_module.errors import DataError

IDENTITIES = "identities.txt"  # lines "label TAB folder"

_SIDES = (features.IMAGE_SIZE, features.IMAGE_SIZE)
_SIZE = f"{features.IMAGE_SIZE}x{features.IMAGE_SIZE}"
_JPEG_QUALITY = 95


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """What was written.

    Attributes:
      identities: folders with images, each a label.
      images: images in `train.rec`.
      resized: images, of `train.rec` and of the set, that had another size and were encoded anew.
      turned: such images that were turned as their EXIF orientation says; those of 112x112 are PNGs now.
      left_out: says which files and folders are no image of an identity; None where all are.
      set_name: the verification set, or None.
      pairs: its pairs.
      same: those of one identity.
      known: its images that are in `train.rec`, too.
      set_images: its different images.
      oddities: what the list of pairs holds that may not be meant.
    """

    identities: int
    images: int
    resized: int = 0
    turned: int = 0
    left_out: str | None = None
    set_name: str | None = None
    pairs: int = 0
    same: int = 0
    known: int = 0
    set_images: int = 0
    oddities: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report for a person."""
        lines = [f"train.rec: {self.images:,} images of {self.identities:,} identities"]
        if self.set_name:
            different = self.pairs - self.same
            lines.append(f"{self.set_name}.bin: {self.pairs:,} pairs: {self.same:,} same, {different:,} different")
        if self.resized:
            lines.append(f"images resized to {_SIZE}, JPEG quality {_JPEG_QUALITY}: {self.resized:,}")
        if self.turned:
            lines.append(f"images turned as their EXIF orientation says: {self.turned:,}")
        if self.left_out:
            lines.append(self.left_out)
        if self.known:
            lines.append(
                f"warning: {self.known:,} of the {self.set_images:,} images of {self.set_name}.bin are in train.rec, "
                "too: a model trained on it must not be judged by this set"
            )
        lines += self.oddities
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
    pixels that lies upright is copied byte for byte (it is decoded once, to see that it is whole). The folder appears
    complete or not at all: it is written beside its place and renamed.

    Args:
      folder: one folder an identity, with JPEG or PNG files, as `identity_folders` reads it.
      out: the folder to make.
      pairs: a list of pairs whose files lie in `folder`.
      resize: resize images of another size bilinearly and encode them as JPEG of quality 95.

    Returns:
      What was written.

    Raises:
      DataError: `out` exists or lies in `folder`, `folder` holds no identity, a file is no whole image or, without
        `resize`, not of 112x112 pixels, a line of the list is no pair, contradicts another or the folders, or names a
        file that isn't there.
      RecordError: more than 2**24 images and identities, which the labels cannot hold.
    """
    folder, out = Path(folder), Path(out)
    if os.path.lexists(out):
        raise DataError(f"{out}: expected a folder that doesn't exist yet. Received: an existing one")
    if folder.resolve() in out.resolve().parents:
        raise DataError(f"{out}: expected a folder outside of {folder}. Received: one in it")
    found = find_identities(folder)
    for name in found.identities:
        if any(x in name for x in "\t\r\n"):
            raise DataError(f"{folder}: expected folder names without tab and newline. Received: {name!r}")
    listed = read_pairs(Path(pairs.path), folder) if pairs else []
    images = _Images(resize)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        _write_train(partial, found, images)
        report = ConversionReport(
            identities=len(found.identities),
            images=len(found.images),
            left_out=found.left_out_line(),
        )
        if pairs:
            report = _write_pairs(partial / f"{pairs.name}.bin", listed, images, found, report)
            report = dataclasses.replace(report, oddities=tuple(oddities(listed, folder)))
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return dataclasses.replace(report, resized=len(images.resized), turned=len(images.turned))


class _Images:
    """Reads single images, in the form in which they are stored.

    Attributes:
      resized: paths of those that were encoded anew in another size.
      turned: paths of those that were turned as their EXIF orientation says.
    """

    def __init__(self, resize: bool) -> None:
        self._resize = resize
        self.resized: set[Path] = set()
        self.turned: set[Path] = set()

    def read(self, path: Path) -> bytes:
        """Encoded 112x112 pixels; the file's own bytes where it has that size and is upright.

        Raises:
          DataError: no whole JPEG or PNG, or one of another size that may not be resized.
        """
        try:
            data = read_file(path)
            header = check_header(data)
            fits = (header.width, header.height) == _SIDES
            if not fits and not self._resize:
                received = f"{header.width}x{header.height}"
                raise ImageError(f"expected {_SIZE} pixels (--resize accepts others). Received: {received}")
            pixels = decode(data)
        except ImageError as error:
            raise DataError(f"{path}: {error}") from error
        if header.orientation != UPRIGHT:
            self.turned.add(path)
            if fits:
                return to_png(pixels)  # which loses nothing
        if fits:
            return data
        self.resized.add(path)
        buffer = io.BytesIO()
        resized = Image.fromarray(pixels).resize(_SIDES, Image.Resampling.BILINEAR)
        resized.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        return buffer.getvalue()


def _write_train(folder: Path, found: IdentityFolders, images: _Images) -> None:
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
    path: Path, pairs: list[ListedPair], images: _Images, found: IdentityFolders, report: ConversionReport
) -> ConversionReport:
    """The verification set, in the list's order; an image that several pairs share is read once."""
    paths = list(dict.fromkeys(x for pair in pairs for x in (pair.first, pair.second)))
    read = {x: images.read(x) for x in progress(paths, description=path.name, unit="img")}
    same = [pair.same for pair in pairs]
    verification_bin.write(path, [read[x] for pair in pairs for x in (pair.first, pair.second)], same)
    trained = {os.path.realpath(files[0].parent) for files in found.identities.values()}
    known = sum(os.path.dirname(os.path.realpath(x)) in trained for x in paths)
    return dataclasses.replace(
        report, set_name=path.stem, pairs=len(pairs), same=sum(same), known=known, set_images=len(paths)
    )
