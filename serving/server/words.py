"""What the server says on its console: never at the price of an answer."""

import contextlib

from arcface_common.console import say


def tell(message: str) -> None:
    """Writes a line; where that can't be, on a full disk or to nobody, it is lost."""
    with contextlib.suppress(OSError, ValueError):
        say(message)
