"""Where `arcface-tfx COMMAND` and `python -m pipeline COMMAND` begin."""

import signal

from arcface_common.interrupts import is_default, leave


def main() -> None:
    """The command line. Ctrl-C while it is imported, or when it has ended, ends it in a word, as between."""
    if is_default():
        signal.signal(signal.SIGINT, leave)
    from pipeline.cli import main as commands

    commands()


if __name__ == "__main__":
    main()
