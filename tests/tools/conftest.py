"""Builds small shared objects that need, or lack, whatever versions a test asks for."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

# Stand-ins for the host's libraries, to link against only: version -> functions that it holds.
Library = dict[str, list[str]]
OLD = "GLIBC_2.2.5"


def _compile(out: Path, source: str, *flags: str) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "-", "-x", "none", "-o", str(out), *flags]
    subprocess.run(command, input=source, text=True, check=True)
    return out


def _stub(folder: Path, soname: str, versions: Library) -> Path:
    """A library of the given name whose functions do nothing and carry the given versions."""
    source = "".join(f"void {name}(void) {{}}\n" for names in versions.values() for name in names)
    script = folder / f"{soname}.map"
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text("".join(f"{version} {{ {'; '.join(names)}; }};\n" for version, names in versions.items()))
    flags = ["-fno-builtin", "-w", f"-Wl,-soname,{soname}", f"-Wl,--version-script={script}"]
    return _compile(folder / soname, source, *flags)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """A function that builds a shared object from C source and the libraries that it is to be bound to."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc to build small shared objects")

    def builder(name: str, source: str, libraries: dict[str, Library]) -> Path:
        stubs = [str(_stub(tmp_path / "stubs" / name, soname, held)) for soname, held in libraries.items()]
        return _compile(tmp_path / name, source, "-fno-builtin", "-w", *stubs)

    return builder


@pytest.fixture
def new_object(build: Callable[..., Path]) -> Path:
    """An object in the image of the two wheels: it needs everything that `tools.relabel` knows."""
    isoc23 = [f"__isoc23_strto{kind}" for kind in ("l", "ul", "ll", "ull")]
    calls = "".join(f"long {name}(const char*, char**, int);\n" for name in isoc23)
    source = (
        calls
        + """
        void __cxa_call_terminate(void*);
        void abort(void);
        int* __errno_location(void);
        __asm__(".globl _ZSt21ios_base_library_initv");
        long parse(const char* text) {
            *__errno_location() = 0;
            return __isoc23_strtol(text, 0, 10) + __isoc23_strtoul(text, 0, 10)
                 + __isoc23_strtoll(text, 0, 10) + __isoc23_strtoull(text, 0, 10);
        }
        void stop(int how) { if (how) __cxa_call_terminate(0); else abort(); }
        """
    )
    libraries = {
        "libc.so.6": {OLD: ["abort", "__errno_location"], "GLIBC_2.38": isoc23},
        "libstdc++.so.6": {
            "CXXABI_1.3.15": ["__cxa_call_terminate"],
            "GLIBCXX_3.4.32": ["_ZSt21ios_base_library_initv"],
        },
    }
    return build("extension.so", source, libraries)
