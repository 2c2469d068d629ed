"""A folder of aligned faces, and pairs of them, become the files that InsightFace publishes.

Images are read one after the other and only their paths are kept (340 bytes an image). A verification set is a single
pickle, so its images are all in memory while it is written: 75 MB for LFW's 6,000 pairs, 1 GiB at most. The same input
gives the same bytes, in whatever order the file system lists it. Pillow, numpy and the standard library only.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from arcface_common.aside import folder_aside
from arcface_common.console import progress
from arcface_common.digests import image_digest
from arcface_common.errors import DataError
from arcface_common.features import MAX_SET_MB
from components.datasets.aligned_faces import AlignedFaces
from components.datasets.conversion_report import ConversionReport, SetReport
from components.datasets.face_files import FaceFiles
from components.datasets.identity_folders import IdentityFolders, find_identities
from components.datasets.kept_faces import KeptFaces, KeptSet
from components.datasets.kept_out import KeepOut
from components.datasets.pair_list import ListedPair, PairList, oddities, read_pairs
from components.datasets.skipped import Skipped
from components.formats import verification_bin
from components.formats.identity_names import IDENTITIES
from components.formats.pair_attributes import attributes_file, write_identities
from components.formats.recordio import write_layout
from components.formats.verification_resize import check_pair_bytes


def convert(
    faces: str | os.PathLike[str] | AlignedFaces,
    out: str | os.PathLike[str],
    *,
    pairs: PairList | None = None,
    keep_out: KeepOut | None = None,
    resize: bool = False,
    skip_bad: bool = False,
) -> ConversionReport:
    """Writes `train.rec`, `train.idx`, `property`, `identities.txt` and maybe a verification set into a new folder.

    Labels follow the sorted names of the identities' folders, keys the sorted names of the files. An image of 112x112
    pixels that lies upright is copied byte for byte (it is decoded once, to see that it is whole). The folder appears
    complete or not at all: it is written beside its place and renamed.

    Args:
      faces: one folder an identity, with JPEG or PNG files, as `identity_folders` reads it; maybe crops of photos.
      out: the folder to make.
      pairs: a list of pairs whose files lie in that folder, or in that of the photos.
      keep_out: instead of a list, which identities aren't trained on, and how many pairs are drawn of them. Beside the
        set, `<set>.csv` says who is on each image.
      resize: resize images of another size bilinearly and encode them as JPEG of quality 95.
      skip_bad: leave out images that can't be used, photos without a crop among them, and list them in `skipped.csv`.

    Returns:
      What was written.

    Raises:
      DataError: `out` exists or lies in the folder, which holds no identity, files are no whole images or, without
        `resize`, not of 112x112 pixels (up to 20 are named), a line of the list is no pair, contradicts another or the
        folders, or names a file that isn't there, or too few identities or images to keep out.
      RecordError: more than 2**24 images and identities, which the labels cannot hold.
    """
    given = faces if isinstance(faces, AlignedFaces) else AlignedFaces(Path(faces))
    folder, out = given.folder, Path(out)
    found, listed, kept = check(folder, out, pairs=pairs, keep_out=keep_out, photos=given.photos)
    listed = [pair._replace(first=given.face(pair.first), second=given.face(pair.second)) for pair in listed]
    kept_files = [path for files in kept.values() for path in files]
    looks = None
    if keep_out:
        owners = np.repeat(np.arange(len(kept)), [len(files) for files in kept.values()])
        looks = KeptFaces(keep_out, owners, lambda place: _in_folder(kept_files[place]))
    trained = {name: files for name, files in found.identities.items() if name not in kept}
    with folder_aside(out) as partial:
        with Skipped(partial, "images", skip_bad) as bad:
            images = FaceFiles(resize, bad)
            for name, reason in given.rejected.items():
                images.refuse(folder / name, str((given.photos or folder) / name), reason)
            if looks:
                _look(looks, kept_files, images)
            counts = _write_train(partial, trained, images, looks) if trained else {}
            bad.check()
            if trained and not counts:
                raise DataError(f"{folder}: expected an image that can be used. Received: none{bad.first()}")
            names = "".join(f"{label}\t{name}\n" for label, name in enumerate([*counts, *kept]))
            (partial / IDENTITIES).write_bytes(os.fsencode(names))
            report = ConversionReport(len(counts), sum(counts.values()), left_out=tuple(found.remarks()))
            if looks and keep_out:
                report = _write_kept(partial, looks.draw(folder), kept_files, keep_out.name, images, report)
            elif pairs:
                report = _write_listed(partial, listed, pairs.name, images, trained, report, folder)
    return dataclasses.replace(report, **images.changes(), skipped=tuple(bad.lines()))


def check(
    folder: Path,
    out: Path,
    *,
    pairs: PairList | None = None,
    keep_out: KeepOut | None = None,
    photos: Path | None = None,
) -> tuple[IdentityFolders, list[ListedPair], dict[str, list[Path]]]:
    """What `convert` works on, found by names alone: the images, the pairs of the list, and who is kept out.

    The list's files lie in `photos`, where `folder` holds crops of these.

    Raises:
      DataError: as `convert`, for all but what the images hold.
    """
    if pairs and keep_out:
        raise DataError("expected a list of pairs, or identities to keep out and draw them of. Received: both")
    found = _find(folder, out)
    listed = read_pairs(Path(pairs.path), photos or folder) if pairs else []
    if not keep_out:
        return found, listed, {}
    chosen = keep_out.choose({name: len(files) for name, files in found.identities.items()}, folder)
    return found, listed, {name: files for name, files in found.identities.items() if name in chosen}


def _find(folder: Path, out: Path) -> IdentityFolders:
    """The images, if `out` can be made of them; see `convert`."""
    if os.path.lexists(out):
        raise DataError(f"{out}: expected a folder that doesn't exist yet. Received: an existing one")
    if folder.resolve() in out.resolve().parents:
        raise DataError(f"{out}: expected a folder outside of {str(folder)!r}. Received: one in it")
    found = find_identities(folder)
    for name in found.identities:
        if any(x in name for x in "\t\r\n"):
            raise DataError(f"{folder}: expected folder names without tab and newline. Received: {name!r}")
    return found


def _look(faces: KeptFaces, files: list[Path], images: FaceFiles) -> None:
    """Looks at each image once; those that can't be used are noted by `images`."""
    for place, path in enumerate(progress(files, description="kept out", unit="img")):
        face = images.read(path)
        if face is not None:
            faces.add(place, face.encoded, face.pixels)


def _in_folder(path: Path) -> str:
    """An image's name with its identity's."""
    return "/".join(path.parts[-2:])


def _write_train(
    folder: Path, identities: Mapping[str, list[Path]], images: FaceFiles, kept: KeptFaces | None
) -> dict[str, int]:
    """The training set; identity -> its images, of those that have any, in the order of their labels."""
    with progress(total=sum(map(len, identities.values())), description="convert", unit="img") as bar:

        def read(files: Iterable[Path]) -> Iterator[bytes]:
            for path in files:
                face = images.read(path)
                if face is not None and not (kept and kept.holds(image_digest(face.encoded), _in_folder(path))):
                    yield face.encoded
                bar.update()

        counts = write_layout(folder, map(read, identities.values()))
    return {name: count for name, count in zip(identities, counts, strict=True) if count}


def _write_kept(
    folder: Path, found: KeptSet, kept: list[Path], name: str, images: FaceFiles, report: ConversionReport
) -> ConversionReport:
    """The set that was drawn, and who is on its images: labels behind those of training."""
    files = [kept[place] for place in found.places.tolist()]
    read = _read_set(folder / f"{name}.bin", files, images)
    if lost := [path for path in files if path not in read]:
        raise DataError(f"{lost[0]}: expected the image that was there a moment ago. Received: none that can be used")
    _write_set(folder / f"{name}.bin", [read[path] for path in files], found.drawn.is_same.tolist())
    labels = (report.identities + found.owners).tolist()
    write_identities(folder / attributes_file(name), labels, [_in_folder(path) for path in files])
    pairs, same = len(found.drawn.is_same), int(found.drawn.is_same.sum())
    return dataclasses.replace(
        report,
        set=SetReport(name, pairs, same, len(read), remarks=found.remarks),
        kept_out=found,
    )


def _write_listed(
    folder: Path,
    pairs: list[ListedPair],
    name: str,
    images: FaceFiles,
    identities: Mapping[str, list[Path]],
    report: ConversionReport,
    source: Path,
) -> ConversionReport:
    """The set of a list, in its order, without the pairs of images that can't be used."""
    read = _read_set(folder / f"{name}.bin", [x for pair in pairs for x in (pair.first, pair.second)], images)
    images.bad.check()
    whole = [pair for pair in pairs if pair.first in read and pair.second in read]
    if not whole:
        raise DataError(f"{name}.bin: expected a pair of images that can be used. Received: none{images.bad.first()}")
    encoded = [read[x] for pair in whole for x in (pair.first, pair.second)]
    _write_set(folder / f"{name}.bin", encoded, [pair.same for pair in whole])
    trained = {os.path.realpath(files[0].parent) for files in identities.values()}
    known = sum(os.path.dirname(os.path.realpath(x)) in trained for x in read)
    same = sum(pair.same for pair in whole)
    lost = len(pairs) - len(whole)
    remarks = tuple(oddities(whole, source))
    return dataclasses.replace(report, set=SetReport(name, len(whole), same, len(read), known, lost, remarks))


def _read_set(path: Path, files: Iterable[Path], images: FaceFiles) -> dict[Path, bytes]:
    """Reads each image once, those that can't be used not at all.

    Raises:
      DataError: more bytes than a set may have, or too many images that can't be used.
    """
    read: dict[Path, bytes] = {}
    size = 0
    for file in progress(list(dict.fromkeys(files)), description=path.name, unit="img"):
        face = images.read(file)
        if face is not None:
            read[file] = face.encoded
            size += len(face.encoded)
            if size > MAX_SET_MB << 20:
                raise DataError(f"{path.name}: expected at most {MAX_SET_MB:,} MiB of images. Received: more")
    return read


def _write_set(path: Path, images: list[bytes], is_same: list[bool]) -> None:
    check_pair_bytes(verification_bin.VerificationSet(images, np.array(is_same, np.bool_)), path.name)
    verification_bin.write(path, images, is_same)
