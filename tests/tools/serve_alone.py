"""`serve` in a process where some modules can't be imported: `python serve_alone.py PORT ABSENT...`.

It serves a model that it saves in the working folder, prints what the server says once the model is available, and
ends as by SIGTERM.
"""

import os
import signal
import sys
import threading
import time
import urllib.request


class Absent:
    """Refuses modules by the names of their packages, as if they weren't installed."""

    def __init__(self, names: list[str]) -> None:
        self.names = frozenset(names)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def ask(port: str) -> None:
    """Prints the state of the model's versions once one is available, and ends the server."""
    said = ""
    while "AVAILABLE" not in said:
        time.sleep(0.1)
        try:
            said = urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/m").read().decode()
        except OSError:
            continue
    print(said)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _, port, *absent = sys.argv
    sys.meta_path.insert(0, Absent(absent))
    import tensorflow as tf

    class Same(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def rows(self, x):
            return {"y": x}

    model = Same()
    tf.saved_model.save(model, "models/1", signatures={"serving_default": model.rows})
    threading.Thread(target=ask, args=(port,), daemon=True).start()

    from pipeline.cli import main

    sys.argv = ["arcface-tfx", "serve", "models", "--model-name", "m", "--port", "0", "--rest-port", port]
    main()
