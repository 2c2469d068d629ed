"""What the server says on its console: never at the price of an answer."""

import contextlib
import time

from arcface_common.console import say


def tell(message: str) -> None:
    """Writes a line, after the local time; where that can't be, on a full disk or to nobody, it is lost."""
    with contextlib.suppress(OSError, ValueError):
        say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}")
