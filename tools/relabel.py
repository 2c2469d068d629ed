"""Makes two wheels that were built against glibc 2.38 and GCC 13 loadable on older hosts.

tensorflow_data_validation and ml_metadata are tagged manylinux_2_39. All that they need of it are four C23 aliases, a
marker that does nothing and one function that ends the process; each has an older name with the same contract. For
every symbol that is bound to a version the host lacks, `relabel`

1. points the symbol's name at the older one, which the object's string table already holds,
2. unbinds it from the version (number 1 in `.gnu.version`: any), and
3. marks the version as weak in `.gnu.version_r`, so that the loader goes on without it.

It touches the two files below and nothing else, refuses every version or symbol that it does not know, and does nothing
where the host has what is needed (Debian 13, Ubuntu 24.04 and newer) or where it has been before.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from elftools.elf.elffile import ELFFile

from tools.elf import VER_FLG_WEAK, Need, open_elf, version_needs

TARGETS = (
    "tensorflow_data_validation/pywrap/tensorflow_data_validation_extension.so",
    "ml_metadata/metadata_store/pywrap/metadata_store_extension.so",
)
VERSIONS = frozenset(
    {("libc.so.6", "GLIBC_2.38"), ("libstdc++.so.6", "GLIBCXX_3.4.32"), ("libstdc++.so.6", "CXXABI_1.3.15")}
)
_INITIALISER = "_ZSt21ios_base_library_initv"
STAND_INS = {
    # C23 also reads "0b101" in base 0 and 2; the older functions stop at the "b". Neither wheel parses such text.
    "__isoc23_strtol": "strtol",
    "__isoc23_strtoul": "strtoul",
    "__isoc23_strtoll": "strtoll",
    "__isoc23_strtoull": "strtoull",
    # GCC 13's <iostream> names it only to demand a libstdc++ that initialises std::cout and its like by itself; it is
    # never called. Any function that is always there will do. See `_STREAMS` for when it will not.
    _INITIALISER: "__errno_location",
    # Called when an exception leaves a noexcept function: both end the process with SIGABRT.
    "__cxa_call_terminate": "abort",
}
# Before GCC 13 libstdc++ leaves these zeroed until some object includes the older <iostream>: to write to one of them
# before that ends in a segmentation fault (tried with GCC 12). So an object that uses one cannot be relabelled.
_STREAMS = frozenset(
    {"_ZSt3cin", "_ZSt4cout", "_ZSt4cerr", "_ZSt4clog", "_ZSt4wcin", "_ZSt5wcout", "_ZSt5wcerr", "_ZSt5wclog"}
)
_SYMBOL_SIZE = 24  # sizeof(Elf64_Sym), whose first field is the uint32 offset of its name.
_ANY_VERSION = 1  # VER_NDX_GLOBAL


class RelabelRefusedError(RuntimeError):
    """An object needs something of a newer host that has no known stand-in; nothing was changed."""


class _Patch(NamedTuple):
    at: int
    data: bytes


def _refuse(path: Path, expected: str, received: str) -> RelabelRefusedError:
    return RelabelRefusedError(
        f"{path.name} cannot be made to load on this host: expected {expected}. Use a host with glibc 2.38 and GCC 13 "
        f"or newer (Debian 13, Ubuntu 24.04), or the container image (`docker build -t arcface-tfx .`). "
        f"Received: {received}"
    )


def lacking(needs: list[Need], provided: Mapping[str, frozenset[str]]) -> list[Need]:
    """Returns the needs that the loader would stop at: not weak, and of a library of the host that lacks the version.

    Args:
        needs: of one object.
        provided: versions by library. Needs of other libraries are left out.
    """
    return [
        need
        for need in needs
        if not need.weak and need.library in provided and need.version not in provided[need.library]
    ]


def _name_offset(strings: bytes, old: str, name_at: int, new: str) -> int | None:
    """Returns where `new` stands in the string table: as the tail of the old name, or on its own."""
    if old.endswith(new):
        return name_at + len(old) - len(new)
    # A tail of any longer string serves just as well: names end at the zero byte and begin where they are pointed at.
    found = strings.find(new.encode() + b"\0")
    return None if found < 0 else found


def _symbol_patches(path: Path, elf: ELFFile, numbers: set[int]) -> tuple[list[_Patch], list[str]]:
    """Plans the renaming and unbinding of every symbol that is bound to one of the numbered versions."""
    symbols, versions = elf.get_section_by_name(".dynsym"), elf.get_section_by_name(".gnu.version")
    strings = elf.get_section_by_name(".dynstr").data()
    bound = struct.unpack(f"<{symbols.num_symbols()}H", versions.data())
    patches, names = [], []
    for i, number in enumerate(bound):
        if number not in numbers:
            continue
        symbol = symbols.get_symbol(i)
        if symbol["st_shndx"] != "SHN_UNDEF" or symbol.name not in STAND_INS:
            raise _refuse(path, f"no symbol of a newer host but {', '.join(sorted(STAND_INS))}", symbol.name)
        to = _name_offset(strings, symbol.name, symbol["st_name"], STAND_INS[symbol.name])
        if to is None:
            raise _refuse(path, f"{STAND_INS[symbol.name]} among its names, as stand-in", f"{symbol.name} alone")
        names.append(symbol.name)
        patches.append(_Patch(symbols["sh_offset"] + i * _SYMBOL_SIZE, struct.pack("<I", to)))
        patches.append(_Patch(versions["sh_offset"] + 2 * i, struct.pack("<H", _ANY_VERSION)))
    if _INITIALISER in names:
        streams = sorted(_STREAMS.intersection(symbol.name for symbol in symbols.iter_symbols()))
        if streams:
            raise _refuse(path, "no use of the standard streams, which an older libstdc++ leaves unset", streams[0])
    return patches, names


def _write_aside(path: Path, data: bytes) -> None:
    """Replaces a file by a new one of the same mode.

    The old inode stays as it is: package installers hard-link from their cache, and a write in place would change the
    cache, and through it every other environment of this machine.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        shutil.copymode(path, aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def relabel(path: Path, provided: Mapping[str, frozenset[str]]) -> list[str]:
    """Relabels one shared object for this host, if it needs it.

    Args:
        path: the shared object; it is replaced, never written to.
        provided: versions that the host's libraries define, by library.

    Returns:
        The symbols that were given an older name; empty if the object loads as it is.

    Raises:
        RelabelRefusedError: the object needs a version, or a symbol, outside the known ones.
        OSError: the file cannot be read or replaced.
        ValueError: the file is not a shared object for 64-bit x86.
    """
    with open(path, "rb") as stream:
        elf = open_elf(stream)
        if elf is None:
            raise ValueError(f"expected a shared object for 64-bit x86. Received: {path}")
        missing = lacking(version_needs(elf), provided)
        if not missing:
            return []
        for need in missing:
            if (need.library, need.version) not in VERSIONS:
                known = ", ".join(sorted(version for _, version in VERSIONS))
                raise _refuse(path, f"to lack no version of this host but {known}", f"{need.version} of {need.library}")
        patches, names = _symbol_patches(path, elf, {need.number for need in missing})
        patches += [_Patch(need.flags_at, struct.pack("<H", need.flags | VER_FLG_WEAK)) for need in missing]
        stream.seek(0)
        data = bytearray(stream.read())
    for patch in patches:
        data[patch.at : patch.at + len(patch.data)] = patch.data
    _write_aside(path, bytes(data))
    return names
