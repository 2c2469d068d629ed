import sys
from pathlib import Path

import pytest

from tools import fit, lend, relabel, scan
from tools.host import newest, provided_versions

HOST = {"libc.so.6": frozenset({"GLIBC_2.2.5", "GLIBC_2.9", "GLIBC_2.36"}), "libstdc++.so.6": frozenset()}
FUTURE = {"libc.so.6": {"GLIBC_2.2.5": ["getpid"], "GLIBC_9.99": ["gethostile"]}}
SOURCE = "void gethostile(); void getpid(); void f() { gethostile(); getpid(); }"


@pytest.fixture
def environment(tmp_path):
    folder = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    folder.mkdir(parents=True)
    (tmp_path / "env" / "bin").mkdir()
    (tmp_path / "env" / "bin" / "python").symlink_to(sys.executable)
    return tmp_path / "env"


def _packages(environment):
    return environment / "lib" / "python3.11" / "site-packages"


def test_error_names_file_version_and_way_out(environment, build):
    build("future.so", SOURCE, FUTURE).rename(_packages(environment) / "future.so")
    needs = scan.host_needs(scan.shared_objects(environment))
    with pytest.raises(scan.HostTooOldError) as error:
        scan.check(environment, needs, HOST)
    message = str(error.value)
    assert "lib/python3.11/site-packages/future.so needs GLIBC_9.99 of libc.so.6" in message
    assert "GLIBC_2.2.5" not in message
    assert "docker build" in message
    assert message.splitlines()[-1] == "Received: libc.so.6 up to GLIBC_2.36, libstdc++.so.6 up to none and none"


def test_what_a_gpus_driver_brings_may_be_missing(environment, build):
    source = "void cuInit(); void gethostile(); void f() { cuInit(); gethostile(); }"
    build("engine.so", source, {"libcuda.so.1": {"CUDA_1": ["cuInit"]}, **FUTURE}).rename(
        _packages(environment) / "engine.so"
    )
    (needs,) = scan.host_needs(scan.shared_objects(environment)).values()
    assert needs.libraries == ["libc.so.6"]


def test_fit_finds_what_this_very_host_lacks(environment, build, capsys):
    build("future.so", SOURCE, FUTURE).rename(_packages(environment) / "future.so")
    assert fit.main([str(environment)]) == 1
    assert "future.so needs GLIBC_9.99" in capsys.readouterr().err


def test_fit_relabels_the_known_files_and_no_other(environment, build, monkeypatch, capsys):
    source = "long __isoc23_strtol(); long f() { return __isoc23_strtol(); }"
    held = {"libc.so.6": {"GLIBC_9.99": ["__isoc23_strtol"]}}
    monkeypatch.setattr(relabel, "VERSIONS", {("libc.so.6", "GLIBC_9.99")})
    known = _packages(environment) / relabel.TARGETS[0]
    known.parent.mkdir(parents=True)
    build("known.so", source, held).rename(known)
    assert fit.main([str(environment)]) == 0
    assert f"relabelled for GLIBC_2.{_minor()}: {known.name}; 1 shared objects fit" in capsys.readouterr().err

    other = _packages(environment) / "other.so"
    build("other.so", source, held).rename(other)
    before = other.read_bytes()
    assert fit.main([str(environment)]) == 1
    assert other.read_bytes() == before


def _minor():
    return newest(provided_versions(Path(sys.executable), ["libc.so.6"])["libc.so.6"], "GLIBC_").split(".")[1]


def test_missing_library_is_found(environment, build):
    held = {"libnone.so.9": {"NONE_1": ["g"]}}
    build("user.so", "void g(); void f() { g(); }", held).rename(_packages(environment) / "user.so")
    needs = scan.host_needs(scan.shared_objects(environment))
    with pytest.raises(scan.HostTooOldError, match=r"user\.so needs libnone\.so\.9\nReceived"):
        scan.check(environment, needs, HOST)


def test_mxnet_is_lent_what_another_wheel_has(environment, build, monkeypatch, capsys):
    folder = _packages(environment)
    (folder / "mxnet").mkdir()
    (folder / "numpy.libs").mkdir()
    held = {"libnone.so.0": {"NONE_1": ["g"]}}
    build("libmxnet.so", "void g(); void f() { g(); }", held).rename(folder / "mxnet" / "libmxnet.so")
    assert fit.main([str(environment)]) == 1
    capsys.readouterr()

    stub = folder.parent.parent.parent.parent / "stubs" / "libmxnet.so" / "libnone.so.0"
    stub.rename(folder / "numpy.libs" / "libnone-12ab.so.0.0.0")
    monkeypatch.setitem(lend.LENDERS, "libnone.so.0", "numpy.libs/libnone-*.so.0*")
    assert fit.main([str(environment)]) == 0
    assert "lent to mxnet: libnone.so.0;" in capsys.readouterr().err
    assert (folder / "mxnet" / "libnone.so.0").resolve() == folder / "numpy.libs" / "libnone-12ab.so.0.0.0"
    assert fit.main([str(environment)]) == 0
    assert "lent" not in capsys.readouterr().err


def test_library_that_comes_along_is_not_the_hosts(environment, build):
    held = {"libstdc++.so.6": {"CXXABI_9.9": ["g"]}}
    folder = _packages(environment)
    build("cxx.so", "void g(); void f() { g(); }", held).rename(folder / "cxx.so")
    (folder.parent.parent.parent.parent / "stubs" / "cxx.so" / "libstdc++.so.6").rename(folder / "libstdc++.so.6")
    assert scan.host_needs(scan.shared_objects(environment)) == {}


def test_what_the_loader_would_never_take_is_passed_over(environment, build):
    folder = _packages(environment)
    (folder / "notes.so.txt").write_text("text")
    (folder / "cut.so").write_bytes(b"\x7fELF")
    foreign = bytearray(build("arm.so", SOURCE, FUTURE).read_bytes())
    foreign[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    (folder / "arm.so").write_bytes(foreign)
    assert scan.host_needs(scan.shared_objects(environment)) == {}


def test_host_answers_for_what_a_process_really_maps():
    provided = provided_versions(Path(sys.executable), ["libc.so.6", "libm.so.6", "libnone.so.9"])
    assert sorted(provided) == ["libc.so.6", "libm.so.6"]
    assert "GLIBC_2.2.5" in provided["libc.so.6"]


def test_interpreter_that_does_not_run_is_said():
    with pytest.raises(RuntimeError, match=r"Received: .*false ended with 1"):
        provided_versions(Path("/bin/false"), ["libc.so.6"])


def test_newest_compares_numbers():
    assert newest(["GLIBC_2.9", "GLIBC_2.36", "GLIBC_PRIVATE", "GLIBCXX_3.4"], "GLIBC_") == "GLIBC_2.36"
    assert newest([], "GLIBC_") == "none"


def test_this_environment_fits_this_host():
    environment = Path(sys.prefix)
    needs = scan.host_needs(scan.shared_objects(environment))
    assert len(needs) > 500
    scan.check(environment, needs, provided_versions(Path(sys.executable), scan.libraries(needs)))
