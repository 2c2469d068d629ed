"""For a while in place of another: a library's function, the environment. Standard library only."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Gives a module or class another attribute for as long as the body runs, where a library offers no hook.

    Args:
      owner: the module or class.
      name: of the attribute.
      value: what it is meanwhile.
    """
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextlib.contextmanager
def kept_environment(values: Mapping[str, str] | None = None) -> Iterator[None]:
    """Puts the environment back afterwards, whatever the body made of it.

    Args:
      values: variables that the body finds.
    """
    before = dict(os.environ)
    os.environ.update(values or {})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
