import os
import subprocess
import sys

import pytest
from elftools.elf.elffile import ELFFile

from tools import relabel
from tools.elf import read_needs

OLD_HOST = {
    "libc.so.6": frozenset({"GLIBC_2.2.5", "GLIBC_2.36"}),
    "libstdc++.so.6": frozenset({"GLIBCXX_3.4", "GLIBCXX_3.4.30", "CXXABI_1.3", "CXXABI_1.3.13"}),
}
NEW_HOST = {
    "libc.so.6": OLD_HOST["libc.so.6"] | {"GLIBC_2.38"},
    "libstdc++.so.6": OLD_HOST["libstdc++.so.6"] | {"GLIBCXX_3.4.32", "CXXABI_1.3.15"},
}


def _symbols(path):
    with open(path, "rb") as stream:
        elf = ELFFile(stream)
        versions = elf.get_section_by_name(".gnu.version")
        return {
            symbol.name: versions.get_symbol(i)["ndx"]
            for i, symbol in enumerate(elf.get_section_by_name(".dynsym").iter_symbols())
            if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name
        }


def _in_new_process(path, statement):
    code = f"import ctypes; library = ctypes.CDLL({str(path)!r}); {statement}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_every_known_symbol_gets_its_older_name_and_every_new_version_becomes_weak(new_object):
    names = relabel.relabel(new_object, OLD_HOST)
    assert sorted(names) == sorted(relabel.STAND_INS)
    symbols = _symbols(new_object)
    assert not set(symbols) & set(relabel.STAND_INS)
    assert all(symbols[stand_in] == "VER_NDX_GLOBAL" for stand_in in ("strtol", "strtoul", "strtoll", "strtoull"))
    weak = {(need.library, need.version) for need in read_needs(new_object).versions if need.weak}
    assert weak == relabel.VERSIONS


def test_relabelled_object_loads_and_works(new_object):
    relabel.relabel(new_object, OLD_HOST)
    parsed = _in_new_process(new_object, "print(library.parse(b'21'))")
    assert (parsed.returncode, parsed.stdout) == (0, "84\n"), parsed.stderr
    # __cxa_call_terminate is abort now: SIGABRT.
    assert _in_new_process(new_object, "library.stop(1)").returncode == -6


def test_object_that_no_host_can_load_is_loadable_afterwards(build, monkeypatch):
    held = {"GLIBC_2.2.5": ["getpid"], "GLIBC_9.99": ["__isoc23_strtol"]}
    source = """
        long __isoc23_strtol(const char*, char**, int);
        long parse(const char* text) { return __isoc23_strtol(text, 0, 10); }
    """
    path = build("future.so", source, {"libc.so.6": held})
    before = _in_new_process(path, "print(library.parse(b'7'))")
    assert before.returncode == 1
    assert "GLIBC_9.99" in before.stderr
    monkeypatch.setattr(relabel, "VERSIONS", {("libc.so.6", "GLIBC_9.99")})
    relabel.relabel(path, OLD_HOST)
    assert _in_new_process(path, "print(library.parse(b'7'))").stdout == "7\n"


def test_second_time_changes_nothing(new_object):
    relabel.relabel(new_object, OLD_HOST)
    before, inode = new_object.read_bytes(), new_object.stat().st_ino
    assert relabel.relabel(new_object, OLD_HOST) == []
    assert (new_object.read_bytes(), new_object.stat().st_ino) == (before, inode)


def test_new_host_changes_nothing(new_object):
    before, inode = new_object.read_bytes(), new_object.stat().st_ino
    assert relabel.relabel(new_object, NEW_HOST) == []
    assert (new_object.read_bytes(), new_object.stat().st_ino) == (before, inode)


def test_host_between_changes_only_what_it_lacks(new_object):
    """glibc 2.38 with GCC 12's libstdc++."""
    host = {"libc.so.6": NEW_HOST["libc.so.6"], "libstdc++.so.6": OLD_HOST["libstdc++.so.6"]}
    assert sorted(relabel.relabel(new_object, host)) == ["_ZSt21ios_base_library_initv", "__cxa_call_terminate"]
    assert "__isoc23_strtol" in _symbols(new_object)


def test_hard_link_in_the_cache_stays_as_it_was(new_object, tmp_path):
    cached = tmp_path / "cache.so"
    os.link(new_object, cached)
    before = cached.read_bytes()
    new_object.chmod(0o755)
    relabel.relabel(new_object, OLD_HOST)
    assert cached.read_bytes() == before
    assert new_object.read_bytes() != before
    assert new_object.stat().st_mode & 0o777 == 0o755


def test_failed_write_leaves_the_old_file_and_nothing_else(new_object, monkeypatch):
    before, names = new_object.read_bytes(), sorted(os.listdir(new_object.parent))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(relabel.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        relabel.relabel(new_object, OLD_HOST)
    assert new_object.read_bytes() == before
    assert sorted(os.listdir(new_object.parent)) == names


def _refused(path, received):
    before = path.read_bytes()
    with pytest.raises(relabel.RelabelRefusedError, match=rf"{path.name} cannot .*docker build.*Received: {received}$"):
        relabel.relabel(path, OLD_HOST)
    assert path.read_bytes() == before


def test_unknown_symbol_of_a_known_version_is_refused(build):
    held = {"GLIBC_2.38": ["__isoc23_strtol", "__isoc23_sscanf"]}
    source = "void __isoc23_strtol(); void __isoc23_sscanf(); void f() { __isoc23_strtol(); __isoc23_sscanf(); }"
    _refused(build("unknown.so", source, {"libc.so.6": held}), "__isoc23_sscanf")


def test_unknown_version_is_refused(build):
    path = build("newer.so", "void strlcpy(); void f() { strlcpy(); }", {"libc.so.6": {"GLIBC_2.43": ["strlcpy"]}})
    _refused(path, "GLIBC_2.43 of libc.so.6")


def test_stand_in_that_the_object_does_not_name_is_refused(build):
    held = {"CXXABI_1.3.15": ["__cxa_call_terminate"]}
    source = "void __cxa_call_terminate(); void f() { __cxa_call_terminate(); }"
    _refused(build("lonely.so", source, {"libstdc++.so.6": held}), "__cxa_call_terminate alone")


def test_object_that_writes_to_a_standard_stream_is_refused(build):
    """An older libstdc++ leaves std::cerr zeroed, and the first write to it would be a segmentation fault."""
    source = """
        extern char _ZSt4cerr; char* f() { return &_ZSt4cerr; }
        int* __errno_location(); int* g() { return __errno_location(); }
        __asm__(".globl _ZSt21ios_base_library_initv");
    """
    libraries = {
        "libc.so.6": {"GLIBC_2.2.5": ["__errno_location"]},
        "libstdc++.so.6": {"GLIBCXX_3.4": ["_ZSt4cerr"], "GLIBCXX_3.4.32": ["_ZSt21ios_base_library_initv"]},
    }
    _refused(build("talker.so", source, libraries), "_ZSt4cerr")


def test_file_that_is_no_shared_object_is_refused(tmp_path):
    path = tmp_path / "text.so"
    path.write_text("not a shared object")
    with pytest.raises(ValueError, match=r"Received: .*text\.so"):
        relabel.relabel(path, OLD_HOST)
