"""What a person can paste next: commands for a shell in the same folder."""

import os
import shlex
import shutil
import sys

from pipeline.checks.files import as_typed

_SCRIPT = "arcface-tfx"


def own_command() -> str:
    """How this installation is called, quoted for a shell.

    That is `arcface-tfx` where the shell finds the same one, its path where it doesn't, and without a script
    `python -P -m pipeline`: without -P, Python would run a folder `pipeline` in which somebody stands.
    """
    script = sys.argv[0] if os.path.basename(sys.argv[0]) == _SCRIPT else os.path.join(sys.prefix, "bin", _SCRIPT)
    on_path = shutil.which(_SCRIPT)
    if not os.path.exists(script):
        return f"{shlex.quote(as_typed(sys.executable))} -P -m pipeline"
    if on_path and os.path.samefile(on_path, script):
        return _SCRIPT
    return shlex.quote(as_typed(os.path.abspath(script)))
