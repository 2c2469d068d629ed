"""Holds ML Metadata to what lies on the disk, before a local run: TFX's cache believes what it says.

Folders may have been removed, emptied, moved or copied since the last run. What is gone is marked so, and runs again; a
moved root's artifacts get their new places.
"""

import collections
import os
import sqlite3
import time
from pathlib import PurePath

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from arcface_common.console import say
from arcface_common.errors import DataError
from arcface_common.filesystem import folders_in
from pipeline.config import PipelineConfig
from pipeline.runs.artifacts import damage, folder_of, is_whole, open_store

_PARTS_BELOW_ROOT = 4  # pipeline/<node>/<output>/<execution>


def reconcile(config: PipelineConfig) -> None:
    """Brings ML Metadata and the root's folders together; nobody else may be running in the root.

    Args:
      config: of the run that is about to begin.

    Raises:
      DataError: `metadata.sqlite` is damaged.
    """
    if not os.path.exists(config.metadata_path):
        _set_aside_unknown(config, 0)
        return
    check_metadata(config.metadata_path)
    records = _Records(open_store(config.metadata_path))
    _set_aside_unknown(config, records.last_execution)
    records.move(config.root)
    records.mark_gone()


def check_metadata(path: str) -> None:
    """Checks that a file is a whole SQLite database.

    Raises:
      DataError: it isn't.
    """
    try:
        connection = sqlite3.connect(path)
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise DataError(
            f"{path}: expected ML Metadata's SQLite file. Move it away, or put a backup in its place: without it "
            f"everything runs again, and the next model is a first one. Received: {found}"
        )


def _set_aside_unknown(config: PipelineConfig, last_execution: int) -> None:
    """Moves output folders away whose numbers will be given again: an old `metadata.sqlite` or none counts from there.

    New shards beside old ones of another number would be read together.
    """
    aside = os.path.join(config.root, time.strftime("unknown-%Y%m%dT%H%M%S"))
    unknown = [
        os.path.join(node, output, execution)
        for node in folders_in(config.pipeline_root)
        for output in folders_in(os.path.join(config.pipeline_root, node))
        for execution in folders_in(os.path.join(config.pipeline_root, node, output))
        if execution.isdecimal() and int(execution) > last_execution
    ]
    for folder in unknown:
        os.makedirs(os.path.dirname(os.path.join(aside, folder)), exist_ok=True)
        os.rename(os.path.join(config.pipeline_root, folder), os.path.join(aside, folder))
    if unknown:
        say(f"{config.metadata_path} knows nothing of {len(unknown)} outputs of earlier runs: moved to {aside}")


class _Records:
    """The artifacts in ML Metadata."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self._types = {kind.id: kind.name for kind in store.get_artifact_types()}
        self._artifacts = store.get_artifacts()
        self.last_execution = max((execution.id for execution in store.get_executions()), default=0)

    def _of(self, kind: str) -> list[mlmd.Artifact]:
        return [artifact for artifact in self._artifacts if self._types[artifact.type_id] == kind]

    def move(self, root: str) -> None:
        """Gives the artifacts of a root that was moved or copied the place where it is now."""
        old_roots = set()
        for artifact in self._artifacts:
            old = str(PurePath(folder_of(artifact)).parents[_PARTS_BELOW_ROOT - 1])
            if old == root:
                continue
            old_roots.add(old)
            artifact.uri = _moved(artifact.uri, old, root)
            for value in artifact.custom_properties.values():
                if value.string_value:
                    value.string_value = _moved(value.string_value, old, root)
            self._store.put_artifacts([artifact])
        for old in sorted(old_roots):
            say(f"{root} was {old} when it was last used: its models and examples are looked for here")

    def mark_gone(self) -> None:
        """Marks artifacts as deleted that are gone from the disk or damaged, so that TFX makes them again."""
        found: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
        for artifact in self._artifacts:
            if artifact.state != mlmd.Artifact.LIVE:
                continue
            gone = not is_whole(self._types[artifact.type_id], artifact)
            how = "" if gone else damage(artifact)
            if not gone and not how:
                continue
            node, output, execution = PurePath(folder_of(artifact)).parts[-3:]
            found[node, "gone" if gone else "damaged"].append(how or f"{output} {execution}")
            artifact.state = mlmd.Artifact.DELETED
            self._store.put_artifacts([artifact])
        for (node, what), outputs in found.items():
            needed = "it and what reads it run again where that is needed"
            say(f"{node}: what it wrote is {what} ({', '.join(outputs)}): {needed}")


def _moved(path: str, old: str, root: str) -> str:
    return root + path[len(old) :] if path.startswith(f"{old}{os.sep}") else path
