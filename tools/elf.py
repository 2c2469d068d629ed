"""Reads the symbol versions of 64-bit x86 shared objects: what they need, and what they provide."""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

VER_FLG_WEAK = 2


class Need(NamedTuple):
    """One entry of `.gnu.version_r`: a version of a library that must be there for the object to load.

    Attributes:
        library: the library's name, such as "libc.so.6".
        version: such as "GLIBC_2.38".
        number: by which `.gnu.version` refers to the entry.
        weak: the loader goes on without the version.
        flags: the entry's flags as stored.
        flags_at: offset in bytes of these flags in the file.
    """

    library: str
    version: str
    number: int
    weak: bool
    flags: int
    flags_at: int


class Needs(NamedTuple):
    """All that a shared object needs: versions of libraries, and libraries (DT_NEEDED)."""

    versions: list[Need]
    libraries: list[str]


def open_elf(stream: IO[bytes]) -> ELFFile | None:
    """Returns the ELF file in a stream, or None if it is none that this platform's loader would take."""
    if stream.read(4) != b"\x7fELF":
        return None
    stream.seek(0)
    try:
        elf = ELFFile(stream)
    except ELFError:
        return None
    if elf.elfclass != 64 or not elf.little_endian or elf["e_machine"] != "EM_X86_64":
        return None
    return elf


def version_needs(elf: ELFFile) -> list[Need]:
    """Returns the versions of other libraries that a shared object needs, in file order."""
    section = elf.get_section_by_name(".gnu.version_r")
    if section is None:
        return []
    needs = []
    at = section["sh_offset"]
    for library, entries in section.iter_versions():
        entry_at = at + library["vn_aux"]
        for entry in entries:
            flags = entry["vna_flags"]
            # struct Vernaux: uint32 hash, uint16 flags, uint16 other, uint32 name, uint32 next.
            needs.append(
                Need(library.name, entry.name, entry["vna_other"], bool(flags & VER_FLG_WEAK), flags, entry_at + 4)
            )
            entry_at += entry["vna_next"]
        at += library["vn_next"]
    return needs


def read_needs(path: Path) -> Needs | None:
    """Returns what a file needs to be loaded, or None if it is not a shared object of this platform.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        elf = open_elf(stream)
        if elf is None:
            return None
        dynamic = elf.get_section_by_name(".dynamic")
        libraries = [] if dynamic is None else [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")]
        return Needs(version_needs(elf), libraries)


def read_provided(path: Path) -> tuple[str, frozenset[str]]:
    """Returns a library's own name (DT_SONAME, else the file's) and the versions that it defines.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a shared object of this platform.
    """
    with open(path, "rb") as stream:
        elf = open_elf(stream)
        if elf is None:
            raise ValueError(f"expected a shared object for 64-bit x86. Received: {path}")
        dynamic = elf.get_section_by_name(".dynamic")
        names = [tag.soname for tag in dynamic.iter_tags("DT_SONAME")] if dynamic is not None else []
        section = elf.get_section_by_name(".gnu.version_d")
        versions = [] if section is None else [next(aux).name for _, aux in section.iter_versions()]
        return (names[0] if names else path.name), frozenset(versions)
