"""Makes the environments: `python3 -m tools.setup NAME...`, with NAME one of tools, runtime, gpu, dev, mxnet.

Runs on any Python 3.9 or newer with nothing installed. What happens, in order: `.venv-tools` (uv and pyelftools, by
pip, hashes checked) -> a Python 3.11 -> the environment -> the locked packages by uv, hashes checked, compiled -> this
project, editable -> `tools.fit` -> a stamp. The stamp comes last and holds a digest of all that the result depends on,
so an interrupted set-up goes on where it can, and a finished one costs only the reading of a few files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tools import interpreter

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv-tools"
UV = TOOLS / "bin" / "uv"
# The newest tag that a locked wheel has. It is named to uv because two wheels have it that older hosts can load too
# once they are relabelled; `tools.fit` then checks what the host really has to have.
PLATFORM = "x86_64-manylinux_2_39"
OLDEST_GLIBC = (2, 34)  # cryptography's wheel asks for it, and there is nothing to be relabelled in it
_SECONDS_BETWEEN_SIGNS = 10.0  # on a machine whose console is no terminal


class Environment(NamedTuple):
    """An environment: the folder, its lock, and whether this project is installed into it."""

    folder: str
    lock: str
    project: bool


ENVIRONMENTS = {
    "runtime": Environment(".venv", "runtime.lock", project=True),
    # Supersets of the runtime in the same versions (requirements/gpu.in, dev.in), in the same folder.
    "gpu": Environment(".venv", "gpu.lock", project=True),
    "dev": Environment(".venv", "dev.lock", project=True),
    "mxnet": Environment(".venv-mxnet", "mxnet.lock", project=False),
}
# What a run imports, cut into two parts that take about as long to compile.
IMPORTED = (
    "tensorflow, tf_keras, keras, pipeline.cli, pipeline.create, trainer_module.run_fn, serving.export, "
    "evaluator_custom.executor, evaluator_custom.report, pipeline.runners.local",
    "kubernetes, scipy.stats, pandas, sklearn.decomposition, matplotlib.pyplot, nltk, beartype, IPython, apache_beam, "
    "botocore.session, pymongo, apache_beam.runners.portability.fn_api_runner, google.cloud.bigquery",
)
# What an environment that is up to date also satisfies.
SATISFIED_BY = {
    "tools": ("tools",),
    "runtime": ("runtime", "gpu", "dev"),
    "gpu": ("gpu",),
    "dev": ("dev",),
    "mxnet": ("mxnet",),
}
# Whose environments run the product and no tests.
PRODUCT = ("runtime", "gpu")


class SetUpError(RuntimeError):
    """Set-up cannot go on; the message says what was expected."""


def folder_of(name: str, root: Path = ROOT) -> Path:
    """Returns the folder of the named environment."""
    return root / (ENVIRONMENTS[name].folder if name in ENVIRONMENTS else TOOLS.name)


def glibc() -> str:
    """Returns the host's C library as it names itself, such as "glibc 2.36", or "" if it is no glibc."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""


def digest(name: str, root: Path = ROOT) -> str:
    """Returns a digest of all that the named environment depends on.

    That is its lock and those that its builds and tools are pinned by, the code of set-up, the project's own metadata,
    the place (an environment holds absolute paths) and the host's C library (which decides what is relabelled).

    Raises:
        OSError: a file cannot be read.
    """
    locks = ["tools.lock"] if name == "tools" else ["tools.lock", "runtime.lock", ENVIRONMENTS[name].lock]
    files = [root / "requirements" / lock for lock in locks]
    if name != "tools":
        files += [root / "pyproject.toml", *sorted((root / "tools").glob("*.py"))]
    total = hashlib.sha256(f"{root}\n{glibc()}\n".encode())
    for path in files:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _stamp(name: str, root: Path) -> Path:
    return folder_of(name, root) / f".set-up-{name}"


def is_current(name: str, root: Path = ROOT) -> bool:
    """Says whether the named environment, or one that includes it, is complete and up to date."""
    if not os.access(folder_of(name, root) / "bin" / "python", os.X_OK):
        return False
    for satisfier in SATISFIED_BY[name]:
        try:
            if _stamp(satisfier, root).read_text() == digest(satisfier, root):
                return True
        except FileNotFoundError:
            continue
    return False


def _write_stamp(name: str, root: Path, made_of: str) -> None:
    """Stamps an environment with the digest of before it was made: a lock that changed meanwhile isn't installed."""
    stamp = _stamp(name, root)
    aside = stamp.with_name(f"{stamp.name}.{os.getpid()}")
    aside.write_text(made_of)
    os.replace(aside, stamp)


def tool_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that uv runs with.

    uv reads neither pip's settings nor the system's certificates. What the machine says about a package mirror and
    certificates to pip by environment variables is handed on, unless it says something else to uv.
    """
    passed = dict(env)
    for pip_name, uv_name in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_CERT", "SSL_CERT_FILE")):
        if env.get(pip_name):
            passed.setdefault(uv_name, env[pip_name])
    # Environments are named by `--python`; an activated one must not be taken for the target.
    passed.pop("VIRTUAL_ENV", None)
    return passed


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """The exit code of a process; None if it still runs after some seconds. What ends the wait ends the process."""
    try:
        return process.wait(_SECONDS_BETWEEN_SIGNS)
    except subprocess.TimeoutExpired:
        return None
    except BaseException:
        process.kill()
        raise


def _say_so_far(what: str, begun: float) -> None:
    print(f"set-up: {what}: {time.monotonic() - begun:.0f} s so far", file=sys.stderr, flush=True)


def _run(command: list[str], what: str) -> None:
    # uv's and pip's own progress goes to the terminal: 820 MiB are on their way the first time.
    environment = tool_environment(os.environ)
    # close_fds: the child holds the lock, too, see `_alone`.
    begun = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sys.stderr, close_fds=False) as process:
        while (code := _ended(process)) is None:
            if not sys.stderr.isatty():  # where uv and pip show nothing either
                _say_so_far(what, begun)
    if code:
        raise SetUpError(f"expected {what} to succeed; its own message stands above. Received: {' '.join(command)}")


def make_tools(starters: list[Path]) -> None:
    """Makes `.venv-tools` with the first starter that can make a virtual environment with pip.

    Raises:
        SetUpError: none can, the packages cannot be installed, or the environment's folder is a link.
    """
    _refuse_link(TOOLS)
    python = str(TOOLS / "bin" / "python")
    failures = []
    for starter in starters:
        made = subprocess.run(
            [str(starter), "-m", "venv", "--clear", str(TOOLS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if made.returncode == 0:
            break
        failures.append(f"{starter}: {' '.join(made.stdout.split())}")
    else:
        raise SetUpError(
            "expected a Python that can make virtual environments (on Debian and Ubuntu: `apt-get install "
            f"python3-venv`). Received: {'; '.join(failures)}"
        )
    lock = str(ROOT / "requirements" / "tools.lock")
    install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    _run([python, *install, "--require-hashes", "-r", lock], "pip's install of requirements/tools.lock")


def _refuse_link(folder: Path) -> None:
    # `venv --clear` empties what a link names: another tree's environment.
    if folder.is_symlink():
        raise SetUpError(f"{folder}: expected a folder of this tree's own, or none. Received: a link")


def _starts(python: Path) -> bool:
    """Says whether an environment's interpreter is still the wanted one: what it stands on may be gone."""
    return os.access(python, os.X_OK) and interpreter.probe(python) is not None


def make_environment(name: str, base: Path | None) -> None:
    """Brings one environment to its lock.

    Args:
        name: a key of ENVIRONMENTS.
        base: the Python 3.11 to stand on; None to get one from uv, if the environment does not stand already.

    Raises:
        SetUpError: a step failed, or the environment's folder is a link.
        InterpreterNotFoundError: there is no Python 3.11 and uv cannot provide one.
    """
    wanted, folder, made_of = ENVIRONMENTS[name], folder_of(name), digest(name, ROOT)
    _refuse_link(folder)
    python, unfinished = folder / "bin" / "python", folder / ".installing"
    # uv installs file by file, so one that was killed leaves packages that look installed: start over.
    if unfinished.exists() or not _starts(python):
        base = base or interpreter.install_with_uv(UV, tool_environment(os.environ))
        _run([str(UV), "venv", "--no-project", "--clear", "--python", str(base), str(folder)], "`uv venv`")
    # The environments that share this folder too: what they added is removed by the sync.
    for stamp in folder.glob(".set-up-*"):
        stamp.unlink()
    unfinished.touch()
    pip = [str(UV), "pip"]
    locks = ROOT / "requirements"
    # Built from source: a few pure Python packages, with the setuptools that the runtime's lock pins and no other.
    checked = ["--require-hashes", "--build-constraints", str(locks / "runtime.lock"), "--python-platform", PLATFORM]
    # Compiled once here, because every worker process of a pipeline otherwise pays 20 to 50 s of imports where
    # PYTHONDONTWRITEBYTECODE is set: for tests all of the 24,000 files; what a run imports (a third) by `_import_all`.
    target = ["--python", str(python), *([] if name in PRODUCT else ["--compile-bytecode"])]
    _run([*pip, "sync", *target, *checked, str(locks / wanted.lock)], f"the install of requirements/{wanted.lock}")
    if wanted.project:
        own = ["--offline", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
        _run([*pip, "install", "--quiet", "--python", str(python), *own], "the install of this project")
    unfinished.unlink()
    _run([str(TOOLS / "bin" / "python"), "-m", "tools.fit", str(folder)], "the check against this host")
    if name in PRODUCT:
        _import_all(python)
    _write_stamp(name, ROOT, made_of)


def _import_all(python: Path) -> None:
    """Imports what a run imports, so that Python keeps its bytecode and a broken environment is noticed.

    Two processes share the work, half as long as compiling all files on two cores. Raises SetUpError where one fails.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    begun, call = time.monotonic(), [str(python), "-W", "ignore", "-c"]
    with ExitStack() as stack:
        started = []
        for modules in IMPORTED:
            said = stack.enter_context(tempfile.TemporaryFile())
            child = subprocess.Popen([*call, f"import {modules}"], cwd=ROOT, env=environment, stdout=said, stderr=said)
            started.append((stack.enter_context(child), modules, said))
        for child, modules, said in started:
            while (code := _ended(child)) is None:
                _say_so_far("the first imports", begun)
            if code:
                said.seek(0)
                complaint = said.read()[-1000:].decode(errors="replace")
                raise SetUpError(f"expected an environment that imports {modules}. Received: {complaint}")


def check_host() -> None:
    """Stops early on a host that no relabelling can help, before 820 MiB are downloaded for it.

    Raises:
        SetUpError: the host is not 64-bit x86 Linux with a recent enough glibc.
    """
    kind, _, version = glibc().partition(" ")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if platform.machine() != "x86_64" or kind != "glibc" or numbers < OLDEST_GLIBC:
        raise SetUpError(
            "expected 64-bit x86 Linux with glibc 2.34 or newer (Debian 12, Ubuntu 22.04). Use the container image "
            f"(`docker build -t arcface-tfx .`). Received: {platform.system()} on {platform.machine()}, "
            f"{glibc() or 'no glibc'}"
        )


@contextmanager
def _alone() -> Iterator[None]:
    """Waits until no other set-up of this tree runs: the lock is on the tree's folder.

    It ends with this process and the last of its children: a uv that outlives a killed set-up still installs.
    """
    handle = os.open(ROOT, os.O_RDONLY)
    os.set_inheritable(handle, True)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def set_up(names: list[str]) -> None:
    """Brings the named environments up to date; those that are cost nothing.

    Raises:
        SetUpError: a step failed.
        InterpreterNotFoundError: there is no Python 3.11.
    """
    if all(is_current(name) for name in names):
        return
    check_host()
    began = time.monotonic()
    with _alone():
        found = interpreter.find_installed(os.environ, Path.home())
        if not is_current("tools"):
            print("set-up: .venv-tools (uv, pyelftools)", file=sys.stderr)
            made_of = digest("tools", ROOT)
            make_tools([Path(sys.executable)] + ([found] if found else []))
            _write_stamp("tools", ROOT, made_of)
        for name in names:
            if not is_current(name):
                print(f"set-up: {ENVIRONMENTS[name].folder} ({name})", file=sys.stderr)
                make_environment(name, found)
    print(f"set-up: done in {time.monotonic() - began:.0f} s", file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Command line: names of environments. Returns the exit status."""
    unknown = sorted(set(arguments) - set(SATISFIED_BY))
    if unknown or not arguments:
        print(f"expected names out of {', '.join(SATISFIED_BY)}. Received: {' '.join(arguments)}", file=sys.stderr)
        return 2
    try:
        set_up(arguments)
    except (SetUpError, interpreter.InterpreterNotFoundError) as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if sys.version_info < (3, 9):  # noqa: UP036 - the machine's python3 may be older than what is supported.
        sys.exit(f"expected Python 3.9 or newer to start set-up with. Received: {sys.version.split()[0]}")
    sys.exit(main(sys.argv[1:]))
