"""Runs every command of README.md and docs/ in the runtime's environment alone: `python -m tests.readme`.

The tests run where their own packages are, so nothing else notices that the product imports one of these. Here the
working tree is copied to build/readme, `make demo` makes the environment there from runtime.lock, as for anybody, and
each command that README.md or a page of docs/ shows runs in that copy, once, word for word, on small files of the same
names. A command whose files nobody makes, and a command of the product that none of them shows, fail.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import time

from pipeline.cli import main as product
from tests.readme.commands import commands
from tests.readme.world import ROOT, make_world

TREE = ROOT / "build" / "readme"
# What isn't run, by its beginning, and why.
NOT_RUN = {
    "make test": "CI runs it",
    "docker ": "needs Docker",
    ".venv/bin/arcface-tfx run --engine kubeflow ": "needs a cluster",
    ".venv/bin/arcface-tfx runs follow ": "needs a cluster",
    "kubectl ": "needs a cluster",
    ".venv/bin/arcface-tfx serve ": "runs until it is stopped; tests/serving/server starts it",
    ".venv/bin/arcface-tfx embed --server ": "needs the server; tests/serving/server/test_client.py runs it",
    ".venv/bin/arcface-tfx verify --server ": "needs the server; tests/serving/server/test_client.py runs it",
    "ARCFACE_MODELS=$PWD/build/demo/serving docker ": "needs Docker",
}
# Their words for what is the reader's own or larger than here, where no file has that name.
STAND_INS = {
    "--data FOLDER": "--data faces/lfw",
    "--verify-identities 0.02": "--verify-identities 0.5",  # of 8 people with 4 images each
    "--verify-identities 0.1 --pairs 6000": "--verify-identities 0.5 --pairs 20",  # of 6 people with 4 images each
}
RUN = "arcface-tfx run "
_SETTINGS = {
    "train.steps": "2",
    "train.batch_size": "8",
    "train.warmup_steps": "1",
    "train.margin_warmup_steps": "0",
    "evaluation.conditions": "[lfw.accuracy >= 0]",
}


def small(command: str) -> str:
    """A command as it is run here: stand-ins for the reader's own names, and few training steps."""
    for words, others in STAND_INS.items():
        command = command.replace(words, others)
    if command == "make demo":
        return f'make demo DEMO_SYNTH="--identities 8 --images 4 --pairs 40" DEMO_RUN="{_flags(_SETTINGS)}"'
    if RUN in command:
        settings = {k: v for k, v in _SETTINGS.items() if f"{k}=0" not in command}
        if "--init-from" not in command:
            settings["train.backbone"] = "iresnet_tiny"
        command = f"{command} {_flags(settings)}"
    return command


def _makes_input(command: str) -> bool:
    """Whether other commands read what it writes."""
    return "--help" not in command and (" convert " in command or " import-" in command)


def _flags(settings: dict[str, str]) -> str:
    return " ".join(f"--set '{name}={value}'" for name, value in settings.items())


def run(command: str) -> None:
    """Runs a line in the copy, as a person's shell would, and says how long it took, or ends with what it said."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = f"{TREE / '.venv' / 'bin'}{os.pathsep}{environment['PATH']}"
    began = time.monotonic()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=TREE, env=environment, capture_output=True, text=True
    )
    if done.returncode or "Traceback" in done.stderr:
        sys.exit(f"{done.stdout}{done.stderr}\nexpected exit code 0 of: {command}\nReceived: {done.returncode}")
    print(f"{time.monotonic() - began:6.1f} s  {command}", flush=True)


def copy_tree() -> None:
    """Copies what git knows or would take to an empty folder."""
    shutil.rmtree(TREE, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, TREE / name)


def commands_shown() -> list[str]:
    """The commands of README.md and of all pages of docs/, each once, in their order."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    shown = [command for page in pages for command in commands(page.read_text())]
    return list({command.removeprefix(".venv/bin/"): command for command in shown}.values())


def not_shown(shown: list[str]) -> list[str]:
    """The product's commands, and the stand-ins, that none of the commands uses."""
    unused = [words for words in STAND_INS if not any(words in command for command in shown)]
    seen = {name for command in shown for name in re.findall(r"arcface-tfx ([a-z-]+)", command)}
    return unused + sorted(set(product.commands) - seen - {"synth"})  # `make demo` runs that one


def main() -> None:
    """Makes the environment and runs all commands; the first that fails ends it."""
    shown = commands_shown()
    left_out = {command: why for command in shown for begins, why in NOT_RUN.items() if command.startswith(begins)}
    lines = [small(command) for command in shown if command not in left_out]
    lines += [f"arcface-tfx {name} --help" for name in product.commands] + ["arcface-tfx --help"]
    if missing := not_shown(shown):
        sys.exit(f"expected README.md and docs/ to show a use of each. Received: none of {', '.join(missing)}")
    copy_tree()
    demo, *lines = lines
    run(demo)
    make_world(TREE)
    for line in filter(_makes_input, lines):
        run(line)
    lines = [line for line in lines if not _makes_input(line)]
    # Two lanes for two cores, each in the pages' order: one run at a time in a root, and what needs a model alone.
    lanes = [line for line in lines if RUN in line], [line for line in lines if RUN not in line]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for lane in [pool.submit(lambda lane=lane: list(map(run, lane))) for lane in lanes]:
            lane.result()
    present = sorted(path.name for path in (TREE / ".venv").glob(".set-up-*"))
    if present != [".set-up-runtime"]:
        sys.exit(f"expected the runtime's environment alone. Received: {', '.join(present) or 'none'}")
    for command, why in left_out.items():
        print(f"left out, {why}: {command}")


if __name__ == "__main__":
    main()
