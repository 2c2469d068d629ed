"""What every command that loads TensorFlow runs inside."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator

from pipeline.config import ConfigError
from trainer_module.console import noise_to, say
from trainer_module.errors import DataError


@contextlib.contextmanager
def quiet(log: str = os.devnull) -> Iterator[None]:
    """Sends the libraries' noise to a file; what goes wrong is said in one line, with the log's path."""
    with noise_to(log):
        try:
            yield
        except (DataError, ConfigError) as error:
            traceback.print_exc()
            say(f"error: {error}")
            sys.exit(2)
        except (KeyboardInterrupt, Exception) as error:
            traceback.print_exc()
            if _is_interrupt(error):
                say("interrupted")
                sys.exit(130)
            say(f"failed: {type(error).__name__}: {error}")
            if log != os.devnull:
                say(f"log: {log}")
            sys.exit(1)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: Beam raises an exception of its own from the one that ends a step."""
    return isinstance(error, KeyboardInterrupt) or (
        error is not None and _is_interrupt(error.__cause__ or error.__context__)
    )
