"""Checks that the product's packages are the ones that Python finds: a script's folder comes before them.

A user's `pipeline.py` beside their script would be imported in place of the package `pipeline`.
"""

import importlib.util
import pathlib

from arcface_common.packages import PACKAGES


def _check() -> None:
    """Looks each package up without importing it.

    Raises:
      ImportError: something else has its name; says where it lies.
    """
    home = pathlib.Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        found = (spec and spec.origin) or "none"
        if pathlib.Path(found).resolve() != home / name / "__init__.py":
            raise ImportError(
                f"expected the package {name!r} of arcface-tfx, in {home}. Received: {found}, which Python finds "
                "first; give that file another name, or run the script from another folder"
            )


_check()
