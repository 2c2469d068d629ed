"""Writes a run's folder while the run goes on: settings, summary, log; so that a run that is killed is known, too."""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arcface_common import filesystem
from arcface_common.aside import file_aside
from arcface_common.console import noise_to
from arcface_common.errors import in_short
from arcface_common.run_log import logged_to, note
from components.content_digest import content_digest, memo_path
from components.formats.pair_attributes import attributes_file
from components.formats.recordio import IDX_FILE, REC_FILE
from pipeline.checks.files import make_private
from pipeline.config import PipelineConfig
from pipeline.node_code import NODE_MODULES, node_code
from pipeline.runs import host, settings
from pipeline.runs.folder import (
    ENDED,
    FAILED,
    INTERRUPTED,
    LOG_FILE,
    NOISE_FILE,
    RUNNING,
    RUNS,
    SETTINGS_FILE,
    SUMMARY_FILE,
)
from pipeline.runs.lock import run_lock, typed_command


class Recording:
    """The folder of a run that goes on.

    `summary.json` is written anew at each step, aside and then renamed: `run`, `command`, `state`, `began` (local time
    with its offset), `began_unix`, `seconds`, `error`, `preset`, `process`, `versions`, `hardware`, `code` (node ->
    digest), `data` (`path`, and the digests of its training and verification files), `nodes` (`node`, `state`,
    `seconds`, `made`: folders below `pipeline/`) and, in the end, `result` (`RunSummary.to_dict()`).
    """

    def __init__(self, config: PipelineConfig) -> None:
        """Makes the folder, aside, then renamed; its owner alone reads it.

        Args:
          config: of the run.
        """
        self._config = config
        self._began = time.monotonic()
        self._summary: dict[str, Any] = {
            "command": typed_command(),
            "state": RUNNING,
            "began": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "began_unix": time.time(),
            "seconds": 0.0,
            "error": None,
            "preset": config.preset,
            "process": host.this_process(),
            "versions": host.versions(),
            "hardware": host.hardware(),
            "code": {node: node_code(node, config.train.backbone) for node in NODE_MODULES},
            "data": {"path": config.data},
            "nodes": [],
            "result": None,
        }
        runs = os.path.join(config.root, RUNS)
        make_private(runs)
        for name in os.listdir(runs):
            if name.startswith("."):  # of a run that was killed while it made its folder: this one holds the root
                shutil.rmtree(os.path.join(runs, name))
        aside = tempfile.mkdtemp(prefix=".", dir=runs)
        _write(os.path.join(aside, SETTINGS_FILE), settings.dump(settings.effective(config)))
        _write(os.path.join(aside, SUMMARY_FILE), json.dumps(self._summary, indent=2))
        self.folder = _free_name(os.path.join(runs, time.strftime("%Y%m%dT%H%M%S")))
        os.rename(aside, self.folder)

    @property
    def name(self) -> str:
        """The run's name, in ML Metadata too."""
        return os.path.basename(self.folder)

    @property
    def log(self) -> str:
        """File of what a person wants to know of the run."""
        return os.path.join(self.folder, LOG_FILE)

    @property
    def noise(self) -> str:
        """File of what the libraries say."""
        return os.path.join(self.folder, NOISE_FILE)

    def head(self) -> None:
        """Writes the log's first lines."""
        found = self._summary
        note(found["command"])
        note(f"run         {self.folder}, settings in {SETTINGS_FILE}, the libraries' words in {NOISE_FILE}")
        note(f"versions    {', '.join(f'{name} {version}' for name, version in found['versions'].items())}")
        note(f"host        {found['process']['host']}, process {found['process']['pid']}")
        note(f"hardware    {host.in_words(found['hardware'])}")
        note(f"data        {self._config.data}")

    def read_data(self) -> None:
        """Takes the digests of the data, which the ExampleGens then needn't: what was read is remembered for them."""
        sets = self._config.set_files
        files = {
            "training": [REC_FILE, IDX_FILE],
            "verification": [file for name in sets for file in (f"{name}.bin", attributes_file(name))],
        }
        for kind, names in files.items():
            paths = [path for name in names if filesystem.exists(path := os.path.join(self._config.data, name))]
            if paths:
                digest = content_digest(paths, memo_path(self._config.work_dir))
                self._summary["data"][kind] = digest
                note(f"data digest {digest} ({kind}: {', '.join(map(os.path.basename, paths))})")
        self._update()

    def node(self, node: str, state: str, seconds: float, made: list[str]) -> None:
        """Takes down what a node did.

        Args:
          node: its name.
          state: "ran", "cached", "resolved" or "failed".
          seconds: how long it took.
          made: the folders that it wrote.
        """
        below = [os.path.relpath(path, self._config.pipeline_root) for path in made]
        self._summary["nodes"].append({"node": node, "state": state, "seconds": round(seconds, 3), "made": below})
        self._update()

    def end(self, result: dict[str, Any], lines: list[str]) -> None:
        """Takes down what the run came to.

        Args:
          result: `RunSummary.to_dict()`.
          lines: the same for people.
        """
        self._summary |= {"state": ENDED, "result": result}
        self._update()
        note("\n".join(["", *lines]))
        note(f"ended after {self._summary['seconds']:.0f} s")

    def end_badly(self, error: BaseException) -> None:
        """Takes down what ended the run."""
        if isinstance(error, SystemExit) and error.__context__ is not None:
            error = error.__context__  # of a command, which has said it
        state = INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED
        self._summary |= {"state": state, "error": f"{type(error).__name__}: {in_short(error)}"}
        self._update()
        note(f"{state} after {self._summary['seconds']:.0f} s: {self._summary['error']}")

    def _update(self) -> None:
        self._summary["seconds"] = round(time.monotonic() - self._began, 3)
        _write(os.path.join(self.folder, SUMMARY_FILE), json.dumps(self._summary, indent=2))


@contextlib.contextmanager
def recorded_run(config: PipelineConfig, wait: bool = False) -> Iterator[Recording]:
    """Holds the root for a run, makes its folder, and sends the libraries' noise and the log there.

    Args:
      config: of the run.
      wait: wait for another run in the same root, instead of raising.

    Raises:
      DataError: another run holds the root.
    """
    with run_lock(config.root, wait):
        for folder in (config.pipeline_root, config.work_dir):  # they hold faces
            make_private(folder)
        recording = Recording(config)
        with noise_to(recording.noise), logged_to(recording.log):
            recording.head()
            try:
                yield recording
            except BaseException as error:
                recording.end_badly(error)
                raise


def _free_name(path: str) -> str:
    """The path, or with the first number behind it that is free: a second may see two runs begin."""
    number = 1
    free = path
    while os.path.lexists(free):
        number += 1
        free = f"{path}-{number}"
    return free


def _write(path: str, text: str) -> None:
    """Aside, then renamed; for its owner alone."""
    with file_aside(Path(path)) as aside:
        opened = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w", errors="backslashreplace") as file:
            file.write(text)
