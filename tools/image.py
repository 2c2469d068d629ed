"""The Dockerfile's steps without a container engine: a root file system by debootstrap, each step in a chroot.

`python -m tools.image build FOLDER serve` makes FOLDER/serve, of the target's files and `image.json`. `python -m
tools.image run --user 12345 --writable DIR FOLDER/serve COMMAND...` runs a command there as Kubernetes' restricted
level would: as a number without a name, the root read-only, DIR alone to be written, at /work.

It needs root, debootstrap and mount namespaces. What differs from an engine's image is the base: Debian 13 by
debootstrap, and this machine's Python 3.11 in /usr/local, in place of the official Python image.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DEBIAN = "trixie"
# What the official image has beside Debian's smallest: the libraries that Python is linked to.
_LIBRARIES = (
    "ca-certificates,netbase,tzdata,libssl3t64,libffi8,libsqlite3-0,libbz2-1.0,liblzma5,libreadline8t64,libncursesw6,"
    "zlib1g,libexpat1,libuuid1"
)


class DockerfileError(ValueError):
    """A step that this reader doesn't know."""


class Step(NamedTuple):
    """One instruction: its word in capitals, and the rest of its line."""

    word: str
    rest: str


class Stage(NamedTuple):
    """A stage: its name, what it begins with (a stage's name or an image), and its steps."""

    name: str
    begins_with: str
    steps: list[Step]


def read(dockerfile: str) -> list[Stage]:
    """The stages of a Dockerfile, in order.

    Args:
      dockerfile: its text.

    Raises:
      DockerfileError: another step than ARG comes before the first stage.
    """
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for whole in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = whole.strip().partition(" ")
        step = Step(word.upper(), rest.strip())
        if step.word == "FROM":
            image, _, name = step.rest.partition(" AS ")
            stages.append(Stage(name or image, image, []))
        elif stages:
            stages[-1].steps.append(step)
        elif step.word != "ARG":
            raise DockerfileError(f"Dockerfile: expected ARG or FROM first. Received: {whole!r}")
    return stages


def needed(stages: list[Stage], targets: Sequence[str]) -> list[Stage]:
    """The stages that targets are made of, each once, in order."""
    names = [stage.name for stage in stages]
    for target in targets:
        if target not in names:
            raise DockerfileError(f"expected a target of {', '.join(names)}. Received: {target!r}")
    wanted = set(targets)
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted.add(stage.begins_with)
            wanted.update(step.rest.split()[0].removeprefix("--from=") for step in stage.steps if _from_stage(step))
    return [stage for stage in stages if stage.name in wanted]


def _from_stage(step: Step) -> bool:
    return step.word == "COPY" and step.rest.startswith("--from=")


class Image(NamedTuple):
    """A root file system, and how a command begins in it."""

    root: Path
    facts: dict[str, Any]

    @classmethod
    def of(cls, root: Path) -> "Image":
        """An image that was built."""
        return cls(root, json.loads((root / "image.json").read_text()))

    def write(self) -> None:
        """Notes the facts inside."""
        (self.root / "image.json").write_text(json.dumps(self.facts, indent=2) + "\n")


def _mounts(root: Path, binds: Mapping[Path, str]) -> list[str]:
    """Commands that mount the kernel's folders and others into a root; the places are there already."""
    pairs = [(Path(f"/{name}"), f"/{name}") for name in ("proc", "dev", "sys")] + list(binds.items())
    return [f"mount --rbind {shlex.quote(str(source))} {shlex.quote(f'{root}{target}')}" for source, target in pairs]


def _apart(mounts: list[str], root: Path, command: list[str], environment: Mapping[str, str], user: str) -> list[str]:
    """The command that runs another in a root, in a mount namespace of its own, which ends with it."""
    inner = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), *command]
    begin = shlex.join(["chroot", f"--userspec={user}", str(root), *inner])
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", "; ".join([*mounts, f"exec {begin}"])]


def base(folder: Path) -> Image:
    """Debian by debootstrap and this machine's Python; made once."""
    root = folder / "debian"
    if not (root / "image.json").exists():
        shutil.rmtree(root, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", f"--include={_LIBRARIES}", DEBIAN, str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        python = Path(sysconfig.get_config_var("prefix"))
        for name in ("bin", "lib", "include"):
            without = shutil.ignore_patterns("__pycache__", "test", "site-packages")  # `venv` brings pip
            shutil.copytree(python / name, root / "usr/local" / name, True, without, dirs_exist_ok=True)
        (root / "usr/local/bin/python").unlink(missing_ok=True)
        (root / "usr/local/bin/python").symlink_to("python3.11")
        (root / "etc/ld.so.conf.d/python.conf").write_text("/usr/local/lib\n")
        subprocess.run(["chroot", str(root), "ldconfig"], check=True)
        Image(root, {"Env": {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}}).write()
    return Image.of(root)


def _registries() -> tuple[dict[str, str], dict[Path, str]]:
    """What this machine reaches package registries by: variables, and files to bind."""
    told = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA"))}
    told |= {k: v for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy", "no_proxy")}
    return told, {Path(p): p for p in ("/etc/pip.conf", "/etc/ssl/certs", "/etc/resolv.conf") if Path(p).exists()}


class Builder:
    """Builds stages into a folder, each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def build(self, stage: Stage) -> None:
        """Builds one stage whose beginning is built."""
        begin = self.folder / stage.begins_with
        if stage.begins_with.startswith("${"):
            begin = base(self.folder).root
        root = self.folder / stage.name
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", str(begin), str(root)], check=True)
        image = Image.of(root)
        for step in stage.steps:
            print(f"{stage.name}: {step.word} {step.rest}"[:150], flush=True)
            self._take(step, image)
        image.write()

    def _take(self, step: Step, image: Image) -> None:
        facts = image.facts
        if step.word == "RUN":
            self._run(step.rest, image)
        elif step.word == "COPY":
            self._copy(step.rest, image.root)
        elif step.word in ("ENV", "LABEL"):
            entries = dict(entry.split("=", 1) for entry in shlex.split(step.rest))
            known = facts.setdefault(step.word.capitalize(), {})
            known.update({name: value.replace("$PATH", known.get("PATH", "")) for name, value in entries.items()})
        elif step.word in ("USER", "WORKDIR", "EXPOSE", "HEALTHCHECK"):
            facts[step.word.capitalize()] = step.rest
        elif step.word in ("ENTRYPOINT", "CMD"):
            facts[step.word.capitalize()] = json.loads(step.rest)
        else:
            raise DockerfileError(f"Dockerfile: expected a step that is known here. Received: {step.word}")

    def _run(self, rest: str, image: Image) -> None:
        told, binds = _registries()
        while rest.startswith("--mount="):
            mount, rest = rest.split(None, 1)
            facts = dict(part.split("=") for part in mount.removeprefix("--mount=").split(","))
            if facts["type"] != "cache":
                raise DockerfileError(f"Dockerfile: expected a mount of type cache. Received: {mount}")
            cache = self.folder / "cache" / facts["target"].strip("/").replace("/", "-")
            cache.mkdir(parents=True, exist_ok=True)
            binds[cache] = facts["target"]
        places = [(source, Path(f"{image.root}{target}")) for source, target in binds.items()]
        made = [place for source, place in places if not place.exists() and _make_like(source, place)]
        environment = {"HOME": "/root", **image.facts["Env"], **told}
        command = ["sh", "-c", f"cd {image.facts.get('Workdir', '/')} && {rest}"]
        subprocess.run(_apart(_mounts(image.root, binds), image.root, command, environment, "0:0"), check=True)
        for place in made:
            place.rmdir() if place.is_dir() else place.unlink()

    def _copy(self, rest: str, root: Path) -> None:
        *sources, target = rest.split()
        of_stage = sources[0].startswith("--from=")
        context = self.folder / sources.pop(0).removeprefix("--from=") if of_stage else ROOT
        into = root / target.lstrip("/")
        for source in sources:
            origin = context / source.lstrip("/")
            if origin.is_dir():
                shutil.copytree(origin, into, symlinks=True, dirs_exist_ok=True, ignore=None if of_stage else _ignored)
            else:
                place = into / origin.name if target.endswith("/") else into
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(origin, place)


def _ignored(_: str, names: list[str]) -> Iterator[str]:
    """Of the working tree, as .dockerignore."""
    return (name for name in names if name == "__pycache__" or name.endswith(".pyc"))


def _make_like(source: Path, place: Path) -> bool:
    """An empty folder or file, for another to be mounted on."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir() if source.is_dir() else place.touch()
    return True


def run(image: Image, command: list[str], user: str, writable: Path) -> int:
    """Runs a command in an image: a number as its user, the root read-only, one folder to be written at /work."""
    root = image.root.resolve()
    mounts = [f"mount --bind {root} {root}", f"mount -o remount,ro,bind {root}"]
    mounts += _mounts(root, {writable.resolve(): image.facts["Workdir"]})
    begin = command or image.facts["Entrypoint"] + image.facts["Cmd"]
    inner = ["sh", "-c", f'cd {image.facts["Workdir"]} && exec "$@"', "sh", *begin]
    return subprocess.run(_apart(mounts, root, inner, image.facts["Env"], f"{user}:0"), check=False).returncode


def main() -> int:
    """Builds a target, or runs a command in one."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    builds = commands.add_parser("build")
    builds.add_argument("folder", type=Path)
    builds.add_argument("targets", nargs="+", metavar="TARGET")
    runs = commands.add_parser("run")
    runs.add_argument("image", type=Path)
    runs.add_argument("--user", default="12345")
    runs.add_argument("--writable", type=Path, required=True)
    runs.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    given = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        print("expected root, and debootstrap (apt-get install debootstrap)", file=sys.stderr)
        return 2
    if given.command == "run":
        return run(Image.of(given.image), given.words, given.user, given.writable)
    given.folder.mkdir(parents=True, exist_ok=True)
    builder = Builder(given.folder.resolve())
    for stage in needed(read((ROOT / "Dockerfile").read_text()), given.targets):
        builder.build(stage)
    return 0


if __name__ == "__main__":
    sys.exit(main())
