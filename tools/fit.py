"""Fits an installed environment to this host: relabels and lends what is known, then checks everything.

Runs on `.venv-tools`: `python -m tools.fit ENVIRONMENT`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tools import relabel, scan
from tools.host import newest, provided_versions
from tools.lend import lend


def fit(environment: Path) -> str:
    """Relabels the known wheels if this host is too old for them, and checks every shared object.

    Args:
        environment: folder of a virtual environment.

    Returns:
        One line that says what was done.

    Raises:
        RelabelRefusedError: a known wheel needs something that has no stand-in.
        HostTooOldError: any other shared object needs what the host lacks.
        RuntimeError: the environment's interpreter does not run.
    """
    began = time.monotonic()
    needs = scan.host_needs(scan.shared_objects(environment))
    provided = provided_versions(environment / "bin" / "python", {"libc.so.6", *scan.libraries(needs)})
    changed: list[Path] = []
    lent: list[Path] = []
    for packages in environment.glob("lib/python3.*/site-packages"):
        lent += lend(packages, scan.libraries(needs) - set(provided))
        for path in (packages / target for target in relabel.TARGETS):
            if path in needs and relabel.relabel(path, provided):
                changed.append(path)
    if changed or lent:
        needs = scan.host_needs(scan.shared_objects(environment))
    scan.check(environment, needs, provided)
    glibc = newest(provided["libc.so.6"], "GLIBC_")
    done = "".join(
        f"{what}: {', '.join(path.name for path in paths)}; "
        for what, paths in ((f"relabelled for {glibc}", changed), ("lent to mxnet", lent))
        if paths
    )
    return f"{done}{len(needs)} shared objects fit this host ({glibc}, {time.monotonic() - began:.1f} s)"


def main(arguments: list[str]) -> int:
    """Command line: one argument, the environment's folder. Returns the exit status."""
    environment = Path(arguments[0])
    try:
        line = fit(environment)
    except (RuntimeError, OSError) as error:
        print(f"{environment.name}: {error}", file=sys.stderr)
        return 1
    print(f"{environment.name}: {line}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
