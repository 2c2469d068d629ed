"""What every command that loads TensorFlow runs inside."""

import contextlib
import os
from collections.abc import Iterator

from pipeline.endings import ends_in_words
from trainer_module.console import noise_to


@contextlib.contextmanager
def quiet(log: str | None = None) -> Iterator[None]:
    """Sends the libraries' noise to a file; what goes wrong is said in one line, see `ends_in_words`.

    Args:
      log: file that keeps the noise, and a failure's traceback; the noise is thrown away if None.
    """
    with noise_to(log or os.devnull), ends_in_words(log):
        yield
