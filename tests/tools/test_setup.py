import ast
import os
import sys
import tomllib
from pathlib import Path

import pytest

from tests.locks import pins
from tools import interpreter, setup

HERE = Path(setup.__file__).resolve().parent


@pytest.fixture
def tree(tmp_path):
    """A tree with everything that a digest reads, and an environment that looks complete but for its stamp."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "tools").mkdir()
    for lock in ("tools", "runtime", "gpu", "dev", "mxnet"):
        (tmp_path / "requirements" / f"{lock}.lock").write_text(f"{lock}==1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "tools" / "relabel.py").write_text("")
    for folder in (".venv", ".venv-tools", ".venv-mxnet"):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "bin" / "python").symlink_to(sys.executable)
    return tmp_path


def _stamp(tree, name):
    (setup.folder_of(name, tree) / f".set-up-{name}").write_text(setup.digest(name, tree))


def test_environment_without_stamp_is_not_current(tree):
    assert not any(setup.is_current(name, tree) for name in setup.SATISFIED_BY)


def test_development_environment_serves_the_runtime_too(tree):
    _stamp(tree, "dev")
    assert setup.is_current("dev", tree)
    assert setup.is_current("runtime", tree)
    assert not setup.is_current("mxnet", tree)


def test_an_environment_for_gpus_serves_the_runtime_and_nothing_else_serves_it(tree):
    _stamp(tree, "gpu")
    assert setup.is_current("gpu", tree) and setup.is_current("runtime", tree)
    assert not setup.is_current("dev", tree)
    (setup.folder_of("gpu", tree) / ".set-up-gpu").unlink()
    for name in ("runtime", "dev"):
        _stamp(tree, name)
    assert not setup.is_current("gpu", tree)


def test_runtime_does_not_serve_development(tree):
    _stamp(tree, "runtime")
    assert setup.is_current("runtime", tree)
    assert not setup.is_current("dev", tree)


@pytest.mark.parametrize(
    "changed", ["requirements/runtime.lock", "requirements/tools.lock", "pyproject.toml", "tools/relabel.py"]
)
def test_change_of_what_it_depends_on_makes_it_stale(tree, changed):
    _stamp(tree, "runtime")
    with open(tree / changed, "a") as stream:
        stream.write("# changed\n")
    assert not setup.is_current("runtime", tree)


def test_environment_that_lost_its_interpreter_is_not_current(tree):
    _stamp(tree, "runtime")
    python = tree / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(tree / "removed")
    assert not setup.is_current("runtime", tree)


@pytest.fixture
def recorded(tree, monkeypatch):
    """The commands that set-up runs in the tree, which all succeed but the one named by `recorded.fails`."""

    class Recorder(list):
        fails = None

        def __call__(self, command, what):
            self.append(" ".join(command).replace(f"{tree}/", ""))
            if self.fails and self.fails in self[-1]:
                raise setup.SetUpError(f"{what} Received: {self[-1]}")

    recorder = Recorder()
    monkeypatch.setattr(setup, "ROOT", tree)
    monkeypatch.setattr(setup, "TOOLS", tree / ".venv-tools")
    monkeypatch.setattr(setup, "UV", tree / ".venv-tools" / "bin" / "uv")
    monkeypatch.setattr(setup, "_run", recorder)
    monkeypatch.setattr(setup, "IMPORTED", ("json", "csv, wave"))
    monkeypatch.setattr(setup, "folder_of", lambda name, root=tree: root / setup.ENVIRONMENTS[name].folder)
    return recorder


def _verbs(commands):
    return [word for line in commands for word in ("uv venv", "pip sync", "pip install", "tools.fit") if word in line]


def test_standing_environment_is_brought_to_its_lock_without_being_made_anew(tree, recorded):
    setup.make_environment("runtime", Path(sys.executable))
    assert _verbs(recorded) == ["pip sync", "pip install", "tools.fit"]
    assert "--require-hashes" in recorded[0]
    assert recorded[0].endswith("requirements/runtime.lock")
    assert (tree / ".venv" / ".set-up-runtime").exists()


def test_a_lock_that_changes_during_set_up_is_not_taken_for_installed(tree, recorded, monkeypatch):
    lock = tree / "requirements" / "dev.lock"
    monkeypatch.setattr(setup, "_run", lambda command, what: lock.write_text("dev==2\n"))
    setup.make_environment("dev", Path(sys.executable))
    assert not setup.is_current("dev", tree)
    setup.make_environment("dev", Path(sys.executable))
    assert setup.is_current("dev", tree)


def test_an_environment_that_does_not_import_what_a_run_imports_is_none(tree, recorded, monkeypatch):
    monkeypatch.setattr(setup, "IMPORTED", ("json", "no_such_module_at_all"))
    with pytest.raises(setup.SetUpError, match="imports no_such_module_at_all. Received: (?s:.*)ModuleNotFoundError"):
        setup.make_environment("runtime", Path(sys.executable))
    assert not (tree / ".venv" / ".set-up-runtime").exists()


def test_oracle_does_not_hold_the_project(recorded):
    setup.make_environment("mxnet", Path(sys.executable))
    assert _verbs(recorded) == ["pip sync", "tools.fit"]


def test_interrupted_install_starts_over(tree, recorded):
    _stamp(tree, "dev")
    recorded.fails = "pip sync"
    with pytest.raises(setup.SetUpError):
        setup.make_environment("runtime", Path(sys.executable))
    # The sync may have removed what only development has.
    assert list((tree / ".venv").glob(".set-up-*")) == []
    recorded.fails = None
    recorded.clear()
    setup.make_environment("runtime", Path(sys.executable))
    assert _verbs(recorded) == ["uv venv", "pip sync", "pip install", "tools.fit"]
    assert "--clear" in recorded[0]


def test_failed_check_leaves_no_stamp_and_does_not_start_over(tree, recorded):
    recorded.fails = "tools.fit"
    with pytest.raises(setup.SetUpError):
        setup.make_environment("runtime", Path(sys.executable))
    assert not (tree / ".venv" / ".set-up-runtime").exists()
    recorded.clear()
    with pytest.raises(setup.SetUpError):
        setup.make_environment("runtime", Path(sys.executable))
    assert _verbs(recorded) == ["pip sync", "pip install", "tools.fit"]


def test_no_starter_can_make_an_environment(tmp_path):
    starter = tmp_path / "python3"
    starter.write_text("#!/bin/sh\necho 'ensurepip is not available'; exit 1\n")
    starter.chmod(0o755)
    with pytest.raises(setup.SetUpError, match=r"python3-venv.*Received: .*python3: ensurepip is not available$"):
        setup.make_tools([starter])


def test_uv_learns_of_the_mirror_and_the_certificates_that_pip_is_told_of():
    env = {"PIP_INDEX_URL": "mirror", "PIP_CERT": "ca.pem"}
    passed = setup.tool_environment({**env, "VIRTUAL_ENV": "/other"})
    assert passed == {**env, "UV_DEFAULT_INDEX": "mirror", "SSL_CERT_FILE": "ca.pem"}
    assert setup.tool_environment({**env, "UV_DEFAULT_INDEX": "own"})["UV_DEFAULT_INDEX"] == "own"


@pytest.mark.parametrize(
    ("machine", "libc", "received"),
    [
        ("aarch64", "glibc 2.36", "Linux on aarch64, glibc 2.36"),
        ("x86_64", "glibc 2.31", "Linux on x86_64, glibc 2.31"),
        ("x86_64", "", "Linux on x86_64, no glibc"),
    ],
)
def test_host_that_cannot_be_helped_is_told_before_anything_is_downloaded(monkeypatch, machine, libc, received):
    monkeypatch.setattr(setup.platform, "machine", lambda: machine)
    monkeypatch.setattr(setup.platform, "system", lambda: "Linux")
    monkeypatch.setattr(setup, "glibc", lambda: libc)
    with pytest.raises(setup.SetUpError, match=f"docker build.*Received: {received}$"):
        setup.check_host()


def test_this_host_can_be_helped():
    setup.check_host()


def test_command_line_wants_known_names(capsys):
    assert setup.main(["runtime", "produce"]) == 2
    assert capsys.readouterr().err.endswith("Received: runtime produce\n")


def test_command_line_says_why_it_failed(monkeypatch, capsys):
    def fail(names):
        raise interpreter.InterpreterNotFoundError("expected Python 3.11. Received: none")

    monkeypatch.setattr(setup, "set_up", fail)
    assert setup.main(["runtime"]) == 1
    assert capsys.readouterr().err == "set-up failed: expected Python 3.11. Received: none\n"


def test_the_other_locks_hold_the_runtimes_versions():
    assert pins("runtime.lock") <= pins("dev.lock")
    added = pins("gpu.lock") - pins("runtime.lock")
    assert pins("runtime.lock") <= pins("gpu.lock")
    assert added and all(name.startswith("nvidia-") for name, _ in added)
    ((tensorflow, version),) = pins("serve.lock") - pins("runtime.lock")
    assert (tensorflow.removesuffix("-cpu"), version) in pins("runtime.lock")


def test_the_project_declares_what_the_runtimes_lock_is_made_from():
    with open(HERE.parent / "pyproject.toml", "rb") as stream:
        declared = set(tomllib.load(stream)["project"]["dependencies"])
    lines = (HERE.parent / "requirements" / "runtime.in").read_text().splitlines()
    assert {line for line in lines if line and not line.startswith("#")} == declared | {"setuptools"}


def test_the_extra_for_gpus_is_what_its_lock_is_made_from():
    with open(HERE.parent / "pyproject.toml", "rb") as stream:
        (extra,) = tomllib.load(stream)["project"]["optional-dependencies"]["gpu"]
    asked = (HERE.parent / "requirements" / "gpu.in").read_text().splitlines()
    assert extra in asked
    assert "-c runtime.lock" in asked


@pytest.mark.parametrize("lock", ["tools.lock", "runtime.lock", "gpu.lock", "serve.lock", "dev.lock", "mxnet.lock"])
def test_locks_pin_exactly_with_hashes_and_name_no_host(lock):
    text = (HERE.parent / "requirements" / lock).read_text()
    assert "://" not in text
    assert "--index" not in text
    entries = [entry for entry in text.replace("\\\n", " ").splitlines() if entry.strip()]
    assert entries
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("module", sorted(path.name for path in HERE.glob("*.py")))
def test_tools_can_be_read_by_the_oldest_starter(module):
    ast.parse((HERE / module).read_text(), feature_version=(3, 9))


def test_another_trees_environment_is_left_alone(tmp_path, monkeypatch):
    theirs = tmp_path / "theirs"
    (theirs / "bin").mkdir(parents=True)
    for name in (".venv-tools", ".venv"):
        (tmp_path / name).symlink_to(theirs)
    monkeypatch.setattr(setup, "TOOLS", tmp_path / ".venv-tools")
    monkeypatch.setattr(setup, "folder_of", lambda name: tmp_path / ".venv")
    with pytest.raises(setup.SetUpError, match=r"\.venv-tools: expected a folder of this tree's own"):
        setup.make_tools([Path(sys.executable)])
    with pytest.raises(setup.SetUpError, match=r"\.venv: expected a folder of this tree's own"):
        setup.make_environment("dev", Path(sys.executable))
    assert (theirs / "bin").is_dir()


def test_a_silent_command_is_said_to_go_on(monkeypatch, capfd):
    monkeypatch.setattr(setup, "_SECONDS_BETWEEN_SIGNS", 0.3)
    setup._run([sys.executable, "-c", "import time; time.sleep(1)"], "the nap")
    assert capfd.readouterr().err.splitlines()[0] == "set-up: the nap: 0 s so far"
    with pytest.raises(setup.SetUpError, match="expected the nap to succeed"):
        setup._run([sys.executable, "-c", "raise SystemExit(3)"], "the nap")


def test_what_lies_in_build_is_not_walked_for_packages(tmp_path, monkeypatch):
    """A root file system has links that lead round in circles: set-up walked there for minutes."""
    from setuptools.discovery import PEP420PackageFinder

    (tmp_path / "serving").mkdir()
    (tmp_path / "build" / "image" / "usr").mkdir(parents=True)
    walked, walk = [], os.walk

    def recorded(*args, **kwargs):
        for found in walk(*args, **kwargs):
            walked.append(Path(found[0]).name)
            yield found

    monkeypatch.setattr(os, "walk", recorded)
    settings = tomllib.loads((setup.ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert PEP420PackageFinder.find(str(tmp_path), settings["exclude"], settings["include"]) == ["serving"]
    assert walked == [tmp_path.name, "serving"]
