"""What a folder of images holds beside images that can be read: junk of tools, other forms, deeper folders.

What nobody would miss is counted alone. Where a person's photos are left out, that is a warning, with its reason.
"""

import collections
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png")
# Photos that cameras, phones and browsers write, and that nothing here reads.
UNREAD_SUFFIXES = frozenset(
    f".{kind}" for kind in "webp heic heif avif tif tiff bmp gif jp2 jxl dng cr2 nef arw".split()
)

_MADE_BY_TOOLS = frozenset(("@eadir", "__macosx", "thumbs.db", "desktop.ini"))  # Synology, macOS, Windows
_SHOWN = 5


@dataclasses.dataclass
class LeftOut:
    """Files and folders that are left out, "folder/file" each.

    Attributes:
      others: no images.
      unread: images of a form that isn't read.
      deeper: folders with images in an identity's folder -> how many images they hold.
      identities: those of whom nothing else is there.
    """

    others: list[str] = dataclasses.field(default_factory=list)
    unread: list[str] = dataclasses.field(default_factory=list)
    deeper: dict[str, int] = dataclasses.field(default_factory=dict)
    identities: list[str] = dataclasses.field(default_factory=list)

    @property
    def missed(self) -> int:
        """How many images a person may miss."""
        return len(self.unread) + sum(self.deeper.values())

    def add(self, path: Path, shown: str, *, look_below: bool = False) -> None:
        """Takes a file or folder.

        Args:
          path: where it lies.
          shown: its name for a person.
          look_below: whether a folder may hold a person's images; it is looked through then.
        """
        if is_unread(path.name) and path.is_file():
            self.unread.append(shown)
        elif look_below and (images := _images_below(path)):
            self.deeper[f"{shown.rstrip('/')}/"] = images
        else:
            self.others.append(shown)

    def lines(self) -> list[str]:
        """For a person: the warnings first."""
        lines = []
        if self.unread:
            lines.append(f"warning: left out, {self._unread()}: convert them to JPEG or PNG")
        if self.deeper:
            lines.append(f"warning: left out, {self._deeper()}: move them up into its own")
        if self.identities:
            who = _listed(self.identities)
            lines.append(f"warning: left out, identities of such images alone: {len(self.identities):,} ({who})")
        if self.others:
            lines.append(f"left out, no images: {len(self.others):,} ({_listed(self.others)})")
        return lines

    def received(self) -> str:
        """What is there in place of images, for an error."""
        found = [*([self._unread()] if self.unread else []), *([self._deeper()] if self.deeper else [])]
        return " and ".join(found) or "no such file"

    def _unread(self) -> str:
        kinds = collections.Counter(os.path.splitext(name)[1].lower()[1:] for name in self.unread)
        counts = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
        return f"images of a form that isn't read: {len(self.unread):,} ({counts}; {_listed(self.unread)})"

    def _deeper(self) -> str:
        return f"images in deeper folders: {sum(self.deeper.values()):,} ({_listed(list(self.deeper))})"


def left_by_tools(name: str) -> bool:
    """Whether a file or folder of that name is none that a person made."""
    return name.startswith(".") or name.lower() in _MADE_BY_TOOLS


def is_read(name: str) -> bool:
    """Whether a file of that name is an image that is read."""
    return not left_by_tools(name) and os.path.splitext(name)[1].lower() in SUFFIXES


def is_unread(name: str) -> bool:
    """Whether a file of that name is an image of a form that isn't read."""
    return not left_by_tools(name) and os.path.splitext(name)[1].lower() in UNREAD_SUFFIXES


def _images_below(folder: Path) -> int:
    """How many files in a folder, and in those within it, are images by their names; of a link to a folder, none."""
    if left_by_tools(folder.name) or folder.is_symlink() or not folder.is_dir():
        return 0
    count = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not left_by_tools(name)]
        count += sum(is_unread(name) or is_read(name) for name in files)
    return count


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
