from pathlib import Path

import pytest

from tools import interpreter


def _program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def _python(path, version="3 11", executable=None, kind="cpython"):
    return _program(path, f'echo "{kind} {version} True"; echo "{executable or path}"')


def _find(home, *folders, **env):
    return interpreter.find_installed({"PATH": ":".join(str(folder) for folder in folders), **env}, home)


def test_named_version_on_path_comes_before_plain_python3(tmp_path):
    _python(tmp_path / "a" / "python3", "3 11")
    wanted = _python(tmp_path / "b" / "python3.11")
    assert _find(tmp_path, tmp_path / "a", tmp_path / "b") == wanted


def test_broken_shim_and_other_versions_are_passed_over(tmp_path):
    _program(tmp_path / "shims" / "python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    _python(tmp_path / "shims" / "python3", "3 13")
    _python(tmp_path / "pypy" / "python3", kind="pypy")
    wanted = _python(tmp_path / "usr" / "python")
    assert _find(tmp_path, tmp_path / "shims", tmp_path / "pypy", tmp_path / "usr") == wanted


def test_pyenv_versions_are_searched_newest_first(tmp_path):
    _python(tmp_path / ".pyenv" / "versions" / "3.11.2" / "bin" / "python3.11")
    newest = _python(tmp_path / ".pyenv" / "versions" / "3.11.10" / "bin" / "python3.11")
    _python(tmp_path / ".pyenv" / "versions" / "3.12.1" / "bin" / "python3.12", "3 12")
    assert _find(tmp_path) == newest


def test_pyenv_root_moves_the_versions_folder(tmp_path):
    wanted = _python(tmp_path / "opt" / "versions" / "3.11.7" / "bin" / "python3.11")
    assert _find(tmp_path, PYENV_ROOT=str(tmp_path / "opt")) == wanted


def test_shim_answers_with_the_interpreter_behind_it(tmp_path):
    _python(tmp_path / "shims" / "python3.11", executable="/somewhere/real/python3.11")
    assert _find(tmp_path, tmp_path / "shims") == Path("/somewhere/real/python3.11")


def test_names_of_one_shim_are_tried_each(tmp_path):
    """pyenv links every name to one script, which answers by the name it was called by."""
    script = 'case "$0" in *python3.11) exit 127;; *) echo "cpython 3 11 True"; echo /real;; esac'
    _program(tmp_path / "shims" / "python3.11", script)
    (tmp_path / "shims" / "python3").symlink_to("python3.11")
    assert _find(tmp_path, tmp_path / "shims") == Path("/real")


def test_nothing_found(tmp_path):
    _python(tmp_path / "python3", "3 13")
    assert _find(tmp_path, tmp_path, tmp_path / "absent") is None


def test_chosen_interpreter_is_the_only_one_tried(tmp_path):
    _python(tmp_path / "a" / "python3.11")
    chosen = _python(tmp_path / "mine")
    assert _find(tmp_path, tmp_path / "a", ARCFACE_TFX_PYTHON=str(chosen)) == chosen
    other = _python(tmp_path / "other", "3 12")
    with pytest.raises(interpreter.InterpreterNotFoundError, match=rf"Received: ARCFACE_TFX_PYTHON={other}$"):
        _find(tmp_path, tmp_path / "a", ARCFACE_TFX_PYTHON=str(other))


def test_uv_provides_its_own(tmp_path):
    python = _python(tmp_path / "managed" / "python3.11")
    uv = _program(tmp_path / "uv", f'echo "$@" >> {tmp_path}/calls; echo {python}')
    assert interpreter.install_with_uv(uv, {}) == python
    assert (tmp_path / "calls").read_text() == "python find --managed-python --no-project 3.11\n"


def test_uv_downloads_if_it_has_none(tmp_path):
    python = _python(tmp_path / "managed" / "python3.11")
    script = f'case "$2" in install) touch {tmp_path}/got;; *) [ -e {tmp_path}/got ] && echo {python};; esac'
    assert interpreter.install_with_uv(_program(tmp_path / "uv", script), {}) == python


def test_error_says_how_to_get_one(tmp_path):
    uv = _program(tmp_path / "uv", "echo 'error: Failed to download' >&2; exit 2")
    with pytest.raises(interpreter.InterpreterNotFoundError) as error:
        interpreter.install_with_uv(uv, {})
    message = str(error.value)
    for way in ("pyenv install 3.11", "apt-get install python3.11", "ARCFACE_TFX_PYTHON", "docker build"):
        assert way in message
    assert message.endswith("Received: error: Failed to download")
