"""Lends mxnet two run-time libraries that other wheels of its environment bring along.

The oracle's wheel needs libgomp and libquadmath from the host, where they come with a C compiler; a bare Debian has
neither. scikit-learn and numpy carry both, under names of their own. libmxnet.so looks for libraries beside itself
first (DT_RPATH is $ORIGIN, which holds for what it loads too), so a link beside it with the plain name is enough.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

BORROWER = "mxnet"
LENDERS = {
    "libgomp.so.1": "scikit_learn.libs/libgomp-*.so.1*",
    "libquadmath.so.0": "numpy.libs/libquadmath-*.so.0*",
}


def lend(packages: Path, absent: Collection[str]) -> list[Path]:
    """Links what mxnet lacks beside it, where another wheel has it.

    Args:
        packages: the site-packages folder.
        absent: names of the libraries that neither the host nor the environment has under that name.

    Returns:
        The links made; none in an environment without mxnet.

    Raises:
        OSError: a link cannot be made.
    """
    links: list[Path] = []
    if not (packages / BORROWER).is_dir():
        return links
    for name in sorted(LENDERS.keys() & set(absent)):
        for lender in sorted(packages.glob(LENDERS[name]))[:1]:
            link = packages / BORROWER / name
            # A link that is there already points at a lender that is gone: the name would not be absent otherwise.
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(lender, link.parent))
            links.append(link)
    return links
