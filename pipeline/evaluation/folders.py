"""1:1 and 1:N figures of a model on folders of faces, one sub-folder an identity, outside a pipeline."""

import collections
import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arcface_common.console import progress, say
from arcface_common.errors import DataError
from arcface_common.features import IMAGE_SIZE
from arcface_common.image_header import ImageError
from arcface_common.image_pixels import decode, read_file
from arcface_common.protocol.all_pairs import ScoreCounts, count_all_pairs, fuse
from arcface_common.protocol.folder_figures import FolderFigures
from arcface_common.protocol.gallery_search import Template, search_gallery
from components.datasets.aligned_faces import AlignedFaces
from components.datasets.identity_folders import find_identities
from components.datasets.skipped import Skipped
from components.formats.identity_names import identity_name

if TYPE_CHECKING:  # it imports TensorFlow, which nothing here needs
    from evaluator_custom.networks.embedder import Embedder

_IMAGES_AT_A_TIME = 512  # 4 MB of JPEG bytes of 7 KB; the rest of a folder stays on disk
_GALLERY = "gallery"
_UNKNOWN_EVERY = 5


@dataclasses.dataclass(frozen=True)
class Faces:
    """A folder's images.

    Attributes:
      folder: where they lie.
      paths: N image files, sorted by identity, then by name.
      digests: SHA-256 of each file.
    """

    folder: Path
    paths: tuple[Path, ...]
    digests: tuple[bytes, ...]

    @property
    def identities(self) -> list[str]:
        """Name of the sub-folder of each image, in one Unicode form."""
        return [identity_name(path.parent.name) for path in self.paths]

    def described(self) -> str:
        """Path, counts and digest, e.g. "faces, 7,113 images of 1,500 identities, digest 1a2b3c4d5e6f"."""
        digest = hashlib.sha256(b"".join(self.digests)).hexdigest()[:12]
        counts = f"{len(self.paths):,} images of {len(set(self.identities)):,} identities"
        return f"{self.folder}, {counts}, digest {digest}"


def evaluate_folder(embedder: "Embedder", folder: "str | Faces", *, resize: bool = False) -> FolderFigures:
    """1:1 figures of all pairs of a folder's images, and 1:N figures of a split of them.

    The split, from names alone: an identity's gallery image is the first whose name contains "gallery", or else its
    first; its other images are probes. An identity with a single image is unknown, and that image a probe. Where no
    identity is, every fifth is unknown with all its images, or no false positive could be counted.

    Args:
      embedder: the loaded model.
      folder: one sub-folder of JPEG or PNG images an identity, or what `read_faces` found in one.
      resize: see `read_faces`.

    Returns:
      The figures.

    Raises:
      DataError: fewer than 2 identities, no identity with two images, or what `read_faces` refuses.
    """
    faces = folder if isinstance(folder, Faces) else read_faces(folder, resize=resize)
    names, labels, sizes = np.unique(faces.identities, return_inverse=True, return_counts=True)
    if names.size < 2 or sizes.max() < 2:
        raise DataError(
            f"{faces.folder}: expected 2 identities or more, one of them with 2 images or more. "
            f"Received: identities of {', '.join(map(str, sizes[:10]))}{', …' if sizes.size > 10 else ''} images"
        )
    _warn_of_duplicates(faces)
    unit = embed_faces(embedder, faces)
    single = sizes == 1
    unknown = single if single.any() else np.arange(names.size) % _UNKNOWN_EVERY == _UNKNOWN_EVERY - 1
    first = _gallery_images(faces, labels)
    gallery = first[~unknown[labels[first]]]
    probes = np.setdiff1d(np.arange(labels.size), gallery)
    return FolderFigures(
        pairs=f"all pairs of {labels.size:,} images of {names.size:,} identities",
        counts=count_all_pairs(unit, labels),
        unknowns="identities of one image" if single.any() else f"every {_UNKNOWN_EVERY}th identity",
        searches=search_gallery(unit[gallery], labels[gallery], unit[probes], labels[probes]),
        gallery=[faces.paths[i] for i in gallery],
        probes=[faces.paths[i] for i in probes],
    )


def evaluate_gallery(
    embedder: "Embedder",
    gallery: "str | Faces",
    probes: "str | Faces",
    template: Template = "mean",
    *,
    resize: bool = False,
) -> FolderFigures:
    """1:1 and 1:N figures of one folder's images against the identities of another.

    Args:
      embedder: the loaded model.
      gallery: the known: one sub-folder of JPEG or PNG images an identity, or what `read_faces` found in one.
      probes: the same; a sub-folder whose name is not in the gallery is of an unknown.
      template: how an identity's images become its score, "mean" or "best" (see `search_gallery`).
      resize: see `read_faces`.

    Returns:
      The figures; the pairs of the 1:1 ones are each probe with each identity of the gallery.

    Raises:
      DataError: fewer than 2 identities in the gallery, no probe of any of them, or what `read_faces` refuses.
    """
    known, asked = (x if isinstance(x, Faces) else read_faces(x, resize=resize) for x in (gallery, probes))
    names = set(known.identities)
    if len(names) < 2 or names.isdisjoint(asked.identities):
        raise DataError(
            f"{known.folder}: expected 2 identities or more, one of them also in {asked.folder}. "
            f"Received: {len(names)}, {len(names.intersection(asked.identities))} of them there"
        )
    _warn_of_duplicates(known, asked)
    _, labels = np.unique(known.identities + asked.identities, return_inverse=True)
    known_labels, asked_labels = np.split(labels, [len(known.paths)])
    counts = ScoreCounts()
    searches = search_gallery(
        embed_faces(embedder, known),
        known_labels,
        embed_faces(embedder, asked),
        asked_labels,
        template=template,
        counts=counts,
    )
    return FolderFigures(
        pairs=f"{len(asked.paths):,} probes with {len(names):,} identities of {len(known.paths):,} images ({template})",
        counts=counts,
        unknowns="not in the gallery",
        searches=searches,
        gallery=known.paths,
        probes=asked.paths,
    )


def read_faces(given: str | AlignedFaces, *, resize: bool = False, skip_bad: bool = False) -> Faces:
    """Finds a folder's images, and decodes each once to see that it is whole: 4,000 a second. Shows progress.

    Args:
      given: one sub-folder of JPEG or PNG images an identity, as `identity_folders` reads it; maybe crops of photos.
      resize: admit images of other sizes than 112x112, which the network's input will squeeze.
      skip_bad: leave out images that can't be used, photos without a crop among them, and say which.

    Returns:
      The images.

    Raises:
      DataError: what `find_identities` refuses; or, without `skip_bad`, images that aren't whole or of another size, or
        photos without a crop (up to 20 are named); or there is no other image.
    """
    faces = given if isinstance(given, AlignedFaces) else AlignedFaces(Path(given))
    found = find_identities(faces.folder)
    for line in found.remarks():
        say(f"{faces.folder}: {line}")
    digests: dict[Path, bytes] = {}
    with Skipped(None, "images", skip_bad) as bad:
        for name, reason in faces.rejected.items():
            bad.note(str((faces.photos or faces.folder) / name), reason)
        for path in progress(found.images, description="reading", unit="img"):
            try:
                digests[path] = _digest(path, resize)
            except ImageError as error:
                bad.note(str(path), str(error))
        bad.check()
    if not digests:
        raise DataError(f"{faces.folder}: expected an image that can be used. Received: none{bad.first()}")
    for line in bad.lines():
        say(f"{faces.photos or faces.folder}: {line}")
    return Faces(faces.folder, tuple(digests), tuple(digests.values()))


def embed_faces(embedder: "Embedder", faces: Faces) -> np.ndarray:
    """Embedding of image and mirror for each image, as the verification protocol has it. Shows progress.

    Args:
      embedder: the loaded model.
      faces: N images.

    Returns:
      float32 [N, D], L2-normalised.

    Raises:
      DataError: the model gives a NaN, an infinity or nothing but zeros for an image, or a file has become larger than
        an image can be; it is named.
    """
    parts: list[np.ndarray] = []
    with progress(total=len(faces.paths), description=f"embedding {faces.folder.name}", unit="img") as bar:
        for begin in range(0, len(faces.paths), _IMAGES_AT_A_TIME):
            some = faces.paths[begin : begin + _IMAGES_AT_A_TIME]
            raw, mirrored = embedder.embed([_read(path) for path in some], bar)
            good = np.isfinite(raw).all(axis=1) & np.isfinite(mirrored).all(axis=1) & (raw != -mirrored).any(axis=1)
            if not good.all():
                first = int(np.argmin(good))
                raise DataError(
                    f"{some[first]}: expected finite embeddings of image and mirror, whose sum is not 0. "
                    f"Received: {raw[first]} and {mirrored[first]}"
                )
            parts.append(fuse(raw, mirrored))
            bar.update(begin + len(some) - bar.n)  # the embedder counts equal images once
    return np.concatenate(parts)


def _read(path: Path) -> bytes:
    """The bytes of an image's file, see `read_file`."""
    try:
        return read_file(path)
    except ImageError as error:
        raise DataError(f"{path}: {error}") from error


def _digest(path: Path, resize: bool) -> bytes:
    """SHA-256 of a whole JPEG or PNG, of 112x112 pixels unless it may be resized.

    Raises:
      ImageError: it is none.
    """
    data = read_file(path)
    height, width, _ = decode(data).shape
    if not resize and (width, height) != (IMAGE_SIZE, IMAGE_SIZE):
        raise ImageError(
            f"expected an aligned face of {IMAGE_SIZE}x{IMAGE_SIZE} pixels (--align takes photos, --resize "
            f"aligned faces of another size). Received: {width}x{height}"
        )
    return hashlib.sha256(data).digest()


def _gallery_images(faces: Faces, labels: np.ndarray) -> np.ndarray:
    """Index of each identity's gallery image, int64 [identities]: Evaluation Studio's rule."""
    named = np.array([_GALLERY in path.name.lower() for path in faces.paths])
    # Images are sorted, so the first of each label in (label, not named, index) order is the one.
    order = np.lexsort((~named, labels))
    return order[np.unique(labels[order], return_index=True)[1]]


def _warn_of_duplicates(*folders: Faces) -> None:
    """Says which files occur again: under another name the truth is wrong, under the same the pair says nothing."""
    copies: dict[bytes, list[Path]] = collections.defaultdict(list)
    for faces in folders:
        for path, digest in zip(faces.paths, faces.digests, strict=True):
            copies[digest].append(path)
    groups = [paths for paths in copies.values() if len(paths) > 1]
    for between, what in ((True, "as two identities"), (False, "twice as one identity")):
        found = [group for group in groups if (len({path.parent.name for path in group}) > 1) == between]
        if found:
            shown = "; ".join(" = ".join(map(str, group)) for group in found[:5])
            say(f"warning: the same bytes {what}, so often: {len(found):,} ({shown}{'; …' if len(found) > 5 else ''})")
