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
        except KeyboardInterrupt:
            say("interrupted")
            sys.exit(130)
        except Exception as error:
            traceback.print_exc()
            say(f"failed: {type(error).__name__}: {error}")
            if log != os.devnull:
                say(f"log: {log}")
            sys.exit(1)
