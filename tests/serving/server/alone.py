"""`serve` in a process where some modules can't be imported: `python alone.py FOLDER PORT ABSENT...`.

From its first moment another thread asks for the model's state. Once that is available it prints each answer's status,
and ends the server as SIGTERM does.
"""

import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any


class Without:
    """Finds what another finder finds, but for some packages, as if they weren't installed."""

    def __init__(self, finder: Any, names: list[str]) -> None:
        self.finder, self.names = finder, frozenset(names)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in self.names else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


def ask(url: str) -> None:
    """Prints the statuses of the answers, and ends the server."""
    statuses: list[int] = []
    said = ""
    while "AVAILABLE" not in said:
        time.sleep(0.05)
        try:
            with urllib.request.urlopen(url) as answer:
                statuses.append(answer.status)
                said = answer.read().decode()
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
        except OSError:
            continue
    print(*sorted(set(statuses)))
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _, folder, port, *absent = sys.argv
    sys.meta_path[:] = [Without(finder, absent) for finder in sys.meta_path]
    threading.Thread(target=ask, args=(f"http://127.0.0.1:{port}/v1/models/m",), daemon=True).start()

    from pipeline.cli import main

    sys.argv = ["arcface-tfx", "serve", folder, "--model-name", "m", "--port", "0", "--rest-port", port]
    main()
