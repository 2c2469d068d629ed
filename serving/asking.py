"""How a server is asked again, and what asking may end in."""

import itertools
import random
import time
from collections.abc import Callable
from typing import TypeVar

from arcface_common.console import say
from arcface_common.errors import DataError

_PAUSES_S = (0.1, 0.3, 1.0, 3.0)  # before the same is asked again; the last one from then on
_WORD_AFTER_S = 2.0
LONGEST_PAUSE_S = _PAUSES_S[-1]
_Answer = TypeVar("_Answer")


class ServerError(DataError):
    """A server that doesn't answer, or refuses what it is asked."""


class RefusedInputError(ServerError):
    """A server that refuses these very images."""


class PassingError(ServerError):
    """Nobody is there, or it is too full, starting or ending: the same may be asked again, since it changes nothing."""


class NotFoundError(ServerError):
    """No such model, or none that brings what it was asked for."""


# By gRPC's codes and by status of HTTP. A server that ends cancels what comes before it has said goodbye.
ERRORS: dict[str | int, type[ServerError]] = {
    **dict.fromkeys(("INVALID_ARGUMENT", 400), RefusedInputError),
    **dict.fromkeys(("NOT_FOUND", 404), NotFoundError),
    **dict.fromkeys(("UNAVAILABLE", "CANCELLED", 429, 503), PassingError),
}


def patiently(seconds: float, ask: Callable[[float], _Answer]) -> _Answer:
    """What a server answers; it is asked again until the time is over, which is said once.

    Args:
      seconds: that all tries together may take.
      ask: asks it once, and gets the seconds that are left.

    Raises:
      ServerError: what the last try ended in.
    """
    begun, told = time.monotonic(), False
    for pause in itertools.chain(_PAUSES_S, itertools.repeat(_PAUSES_S[-1])):
        try:
            return ask(max(0.001, seconds - (time.monotonic() - begun)))
        except PassingError as error:
            pause *= random.uniform(0.5, 1.0)
            if time.monotonic() - begun + pause > seconds:
                raise
            if not told and time.monotonic() - begun + pause > _WORD_AFTER_S:
                told = True
                say(f"WARNING {error}; asking on until {seconds:g} s are over")
            time.sleep(pause)
    raise AssertionError  # the pauses don't end
