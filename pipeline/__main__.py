"""Where `arcface-tfx COMMAND` and `python -m pipeline COMMAND` begin."""

import sys


def main() -> None:
    """The command line. Ctrl-C while it is still imported ends it in a word, as later."""
    try:
        from pipeline.cli import main as commands
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    commands()


if __name__ == "__main__":
    main()
