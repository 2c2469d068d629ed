"""What every command that loads TensorFlow runs inside."""

import contextlib
import os
from collections.abc import Iterator

from arcface_common.console import noise_to
from pipeline.cli.endings import ends_in_words


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Throws the libraries' noise away; what goes wrong is said in one line, see `ends_in_words`."""
    with noise_to(os.devnull), ends_in_words():
        yield
