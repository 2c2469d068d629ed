"""A folder with one folder an identity: which files are images, and which file a name means.

Tools leave things behind: `.DS_Store`, `._face.jpg`, `Thumbs.db`, `desktop.ini`, `@eaDir`, `__MACOSX`, notes, empty
folders. They are left out and counted, so that a folder means the same to every command. So are images of a form that
isn't read, and those in deeper folders, with a warning.
"""

import dataclasses
import os
import unicodedata
from pathlib import Path

from arcface_common.artifacts import FACES_FILE, PAIRS_FILE, SHEET_FILE, SKIPPED_FILE
from arcface_common.console import progress
from arcface_common.errors import DataError
from arcface_common.features import IMAGE_MAGICS
from components.datasets.left_out import SUFFIXES, LeftOut, left_by_tools
from components.formats.identity_names import identity_name

# What `align`, `unpack` and `convert` leave among faces: no surprise to anybody.
_MADE_BY_US = frozenset((FACES_FILE, SHEET_FILE, PAIRS_FILE, SKIPPED_FILE))
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class IdentityFolders:
    """What was found.

    Attributes:
      identities: name of each folder with images -> its images; both sorted by name.
      left_out: files and folders that are no image of an identity.
    """

    identities: dict[str, list[Path]]
    left_out: LeftOut

    def remarks(self) -> list[str]:
        """What a person should know: what was left out, and folders that may be of one person."""
        alike: dict[str, list[str]] = {}
        for name in self.identities:
            alike.setdefault(" ".join(_loose(name).split()), []).append(name)
        groups = [names for names in alike.values() if len(names) > 1]
        if not groups:
            return self.left_out.lines()
        shown = "; ".join(" = ".join(map(repr, names)) for names in groups[:_SHOWN])
        more = "; ..." if len(groups) > _SHOWN else ""
        what = "names of identities that differ in case or blanks alone, which are taken as different people"
        return [*self.left_out.lines(), f"warning: {what}: {len(groups):,} ({shown}{more})"]

    @property
    def images(self) -> list[Path]:
        """All images, by identity, then by name."""
        return [path for files in self.identities.values() for path in files]


def find_identities(folder: Path) -> IdentityFolders:
    """Looks for the images of each identity.

    An image is a file named `.jpg`, `.jpeg` or `.png`, in whatever case, or one of another name that begins as such a
    file does. Folders within an identity's folder are left out.

    Args:
      folder: one folder an identity.

    Raises:
      DataError: no such folder, no image of any identity, an image beside their folders, two folders of one name in
        two Unicode forms, or one folder under two names by a link.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with one folder an identity. Received: no such folder")
    identities: dict[str, list[Path]] = {}
    left_out = LeftOut()
    for entry in progress(sorted(folder.iterdir()), description="look for images", unit="folder"):
        if not _is_identity(entry):
            if _is_image(entry):
                raise DataError(f"{entry}: expected images in one folder an identity. Received: an image beside them")
            if not _is_ours(entry):
                left_out.add(entry, _shown(entry))
            continue
        found = sorted(entry.iterdir())
        files = [path for path in found if _is_image(path)]
        used = set(files)
        missed = left_out.missed
        for path in found:
            if path not in used and not _is_ours(path):
                left_out.add(path, f"{entry.name}/{path.name}", look_below=True)
        if files:
            identities[entry.name] = files
        elif left_out.missed > missed:
            left_out.identities.append(entry.name)
        else:
            left_out.others.append(f"{entry.name}/")
    if not identities:
        expected = "one folder an identity with JPEG or PNG files"
        raise DataError(f"{folder}: expected {expected}. Received: {left_out.received()}")
    _check_distinct(folder, identities)
    return IdentityFolders(identities, left_out)


def find_photos(folder: Path) -> IdentityFolders:
    """`find_identities`, also of a folder of images alone, whose identity is "".

    Raises:
      DataError: as there.
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    beside = [path for path in entries if _is_image(path)]
    below = (path for entry in entries if _is_identity(entry) for path in entry.iterdir())
    if not beside or any(map(_is_image, below)):
        return find_identities(folder)
    used = set(beside)
    left_out = LeftOut()
    for path in entries:
        if path not in used and not _is_ours(path):
            left_out.add(path, _shown(path), look_below=True)
    return IdentityFolders({"": beside}, left_out)


class FileNames:
    """Finds files by names that may be in another case or Unicode form. It remembers folders that it has listed."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]]] = {}

    def existing(self, path: Path) -> Path | None:
        """The file that a path names; None if there is none, or if only several others have such a name."""
        if path.is_file():
            return path
        place = Path(path.anchor)
        for part in path.parts[len(place.parts) :]:
            if part != ".." and not (place / part).exists():
                alike = self._alike(place).get(_loose(part), [])
                if len(alike) != 1:
                    return None
                (part,) = alike
            place = place / part
        return place if place.is_file() else None

    def _alike(self, folder: Path) -> dict[str, list[str]]:
        """The names in a folder by what they are but for case and Unicode form."""
        if folder not in self._folders:
            names: dict[str, list[str]] = {}
            for path in folder.iterdir() if folder.is_dir() else ():
                names.setdefault(_loose(path.name), []).append(path.name)
            self._folders[folder] = names
        return self._folders[folder]


def _loose(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _shown(path: Path) -> str:
    return f"{path.name}/" if path.is_dir() else path.name


def _is_ours(path: Path) -> bool:
    return path.name in _MADE_BY_US


def _is_identity(entry: Path) -> bool:
    """Whether it is a person's folder: no link to the folder that it lies in, nor to one that holds that."""
    if left_by_tools(entry.name) or not entry.is_dir():
        return False
    return not (entry.is_symlink() and entry.resolve() in (above := entry.parent.resolve(), *above.parents))


def _is_image(path: Path) -> bool:
    if left_by_tools(path.name) or not path.is_file():
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with open(path, "rb") as file:
        return file.read(8).startswith(IMAGE_MAGICS)


def _check_distinct(folder: Path, identities: dict[str, list[Path]]) -> None:
    known: dict[str, str] = {}
    for name in identities:
        other = known.setdefault(identity_name(name), name)
        if other != name:
            raise DataError(
                f"{folder}: expected one folder an identity. "
                f"Received: {ascii(other)} and {ascii(name)}, one name in two Unicode forms"
            )
    places: dict[str, str] = {}
    for name in identities:
        other = places.setdefault(os.path.realpath(folder / name), name)
        if other != name:
            raise DataError(
                f"{folder}: expected one folder an identity. "
                f"Received: {other!r} and {name!r}, which a link makes one folder"
            )


def images_below(folder: Path) -> tuple[list[Path], LeftOut]:
    """All images in a folder and in the folders within it, whatever they stand for; see `find_identities`.

    Args:
      folder: to look through; links to other folders are left out.

    Returns:
      The images, sorted by folder, then by name, and the other files, folders of tools and links, by their paths below
      `folder`. A million paths take 0.2 GB.

    Raises:
      OSError: a folder that can't be listed.
    """
    images: list[Path] = []
    left_out = LeftOut()

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        here = Path(place)
        for name in sorted(folders):
            if left_by_tools(name) or (here / name).is_symlink():
                folders.remove(name)
                left_out.others.append(f"{(here / name).relative_to(folder)}/")
        folders.sort()
        for path in (here / name for name in sorted(files)):
            if _is_image(path):
                images.append(path)
            elif not _is_ours(path):
                left_out.add(path, str(path.relative_to(folder)))
    return images, left_out
