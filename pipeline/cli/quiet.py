"""What every command that loads TensorFlow runs inside."""

import contextlib
import os
from collections.abc import Iterator

from arcface_common.aside import temporary_files_aside
from arcface_common.console import noise_to
from pipeline.cli.endings import ends_in_words


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Throws the libraries' noise and temporary files away; what goes wrong is said, see `ends_in_words`."""
    with noise_to(os.devnull), ends_in_words(), temporary_files_aside():
        yield
