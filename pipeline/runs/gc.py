"""Which artifacts of a root nothing needs any more, and their removal.

Needed are what the last N runs and the last N blessed runs read and wrote, what the latest blessed model came with,
what such a run's `--init-from` names, and what the same executions wrote beside. What is pushed below `serving/` is
never looked at. Artifacts are found by their place below `pipeline/`, not by ML Metadata's path: a copied root must
never touch the one that it was copied from.
"""

import dataclasses
import errno
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from arcface_common.filesystem import folders_in
from components.record_example_gen.stores import remove_stores, unused_stores
from pipeline.config import PipelineConfig
from pipeline.runs.artifacts import files_note, folder_of, open_store
from pipeline.runs.folder import Run

_PARTS = 3  # <node>/<output>/<execution>


@dataclasses.dataclass(frozen=True)
class Garbage:
    """What nothing needs any more.

    Attributes:
      artifacts: place below `pipeline/`, e.g. "Trainer/model/10" -> bytes that its removal frees.
      stores: folders of finished shards that ingests left which failed or were killed -> bytes.
      trainings: folders of checkpoints of trainings that were stopped, without the last ones -> bytes.
      kept: runs whose artifacts stay, of those that ML Metadata knows.
    """

    artifacts: Mapping[str, int]
    stores: Mapping[str, int]
    trainings: Mapping[str, int]
    kept: int

    @property
    def bytes(self) -> int:
        """What the removal frees."""
        return sum(sum(kind.values()) for kind in (self.artifacts, self.stores, self.trainings))


def find_garbage(config: PipelineConfig, runs: Iterable[Run], keep: int) -> Garbage:
    """What a root holds and nothing needs; nobody else may be running in it.

    Args:
      config: of the root.
      runs: those whose folders can be read, for what their settings name.
      keep: how many runs, and how many blessed runs, keep what they read and wrote; at least 1.
    """
    records = _Records(open_store(config.metadata_path))
    kept = records.kept_runs(keep)
    needed = records.of_runs(kept) | records.of_latest_blessed()
    needed |= {place for run in runs if (place := _initial(config, run, kept))}
    there = [place for place in _places(config.pipeline_root) if int(PurePath(place).name) <= records.last_execution]
    # All that an execution wrote stays with any of it: TFX's cache has the whole or nothing.
    executions = set(map(_execution, needed))
    unneeded = [place for place in there if _execution(place) not in executions]
    return Garbage(
        artifacts=_freed(config.pipeline_root, unneeded),
        stores=_freed(config.work_dir, unused_stores(config.work_dir)),
        trainings=_freed(config.training_dir, _old_trainings(config.training_dir, keep)),
        kept=len(kept),
    )


def _old_trainings(folder: str, keep: int) -> list[str]:
    """Names of all stopped trainings but those that were stopped last."""
    names = folders_in(folder)
    return sorted(names, key=lambda name: os.path.getmtime(os.path.join(folder, name)), reverse=True)[keep:]


def remove(config: PipelineConfig, garbage: Garbage) -> dict[str, str]:
    """Removes it, as far as the file system lets it.

    Artifacts are marked as deleted first, so that TFX never takes one that is half gone from its cache. One of which
    nothing could be removed gets its state back.

    Args:
      config: of the root.
      garbage: of `find_garbage`.

    Returns:
      What can't be removed: its path -> the file system's reason.
    """
    store = open_store(config.metadata_path)
    marked = [
        artifact
        for artifact in store.get_artifacts()
        if _place(artifact) in garbage.artifacts and artifact.state == mlmd.Artifact.LIVE
    ]
    _mark(store, marked, mlmd.Artifact.DELETED)
    stuck: dict[str, str] = {}
    whole = set()
    for name in garbage.trainings:
        stuck |= _remove(os.path.join(config.training_dir, name))
    for place in garbage.artifacts:
        path = os.path.join(config.pipeline_root, place)
        before = _files(path)
        if reasons := _remove(path):
            stuck |= reasons
            if _files(path) == before:
                whole.add(place)
        else:
            files_note(path).unlink(missing_ok=True)
    _mark(store, [artifact for artifact in marked if _place(artifact) in whole], mlmd.Artifact.LIVE)
    remove_stores(config.work_dir)
    left = (os.path.join(config.work_dir, name) for name in unused_stores(config.work_dir))
    return {**stuck, **dict.fromkeys(left, "it is still there")}


def _mark(store: MetadataStore, artifacts: list[mlmd.Artifact], state: Any) -> None:
    for artifact in artifacts:
        artifact.state = state
    if artifacts:
        store.put_artifacts(artifacts)


class _Records:
    """Runs, executions and artifacts in ML Metadata."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self._types = {kind.id: kind.name for kind in store.get_artifact_types()}
        self._artifacts = {artifact.id: artifact for artifact in store.get_artifacts()}
        self._contexts = sorted(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
        self._read_and_written = {context.name: self._of(context) for context in self._contexts}
        self.last_execution = max((execution.id for execution in store.get_executions()), default=0)

    def _of(self, context: mlmd.Context) -> set[int]:
        """Numbers of the artifacts that a run read or wrote; what came from the cache counts as written."""
        executions = [execution.id for execution in self._store.get_executions_by_context(context.id)]
        events = self._store.get_events_by_execution_ids(executions) if executions else []
        return {event.artifact_id for event in events}

    def kept_runs(self, keep: int) -> list[str]:
        """Names of the last runs and of the last blessed runs."""
        names = [context.name for context in self._contexts]
        blessed = [name for name in names if any(map(self._blesses, self._outputs(name)))]
        return list(dict.fromkeys((*names[-keep:], *blessed[-keep:])))

    def _outputs(self, run: str) -> list[mlmd.Artifact]:
        return [self._artifacts[number] for number in self._read_and_written[run] if number in self._artifacts]

    def _blesses(self, artifact: mlmd.Artifact) -> bool:
        # Asking a protobuf map for what isn't there would put it there.
        known = self._types[artifact.type_id] == "ModelBlessing" and "blessed" in artifact.custom_properties
        return known and bool(artifact.custom_properties["blessed"].int_value)

    def of_runs(self, runs: Iterable[str]) -> set[str]:
        """Places of what some runs read and wrote."""
        return {_place(artifact) for run in runs for artifact in self._outputs(run)}

    def of_latest_blessed(self) -> set[str]:
        """Places of the model that the next one is compared with, and of all that came and went with it."""
        blessings = [
            a for a in self._artifacts.values() if self._blesses(a) and "current_model_id" in a.custom_properties
        ]
        models = {a.custom_properties["current_model_id"].int_value for a in blessings}
        live = [number for number in models if self._is_live(number)]
        if not live:
            return set()
        model = max(live)
        own = [a for a in blessings if a.custom_properties["current_model_id"].int_value == model]
        used = self._store.get_events_by_artifact_ids([model])
        events = self._store.get_events_by_execution_ids([event.execution_id for event in used])
        numbers = {event.artifact_id for event in events} | {model} | {blessing.id for blessing in own}
        return {_place(self._artifacts[number]) for number in numbers if number in self._artifacts}

    def _is_live(self, number: int) -> bool:
        return number in self._artifacts and self._artifacts[number].state == mlmd.Artifact.LIVE


def _place(artifact: mlmd.Artifact) -> str:
    """Where an artifact lies below `pipeline/`, wherever its root was."""
    return "/".join(PurePath(folder_of(artifact)).parts[-_PARTS:])


def _execution(place: str) -> tuple[str, str]:
    """Node and number of the execution that wrote a place."""
    node, _, number = place.split("/")
    return node, number


def _initial(config: PipelineConfig, run: Run, kept: Iterable[str]) -> str | None:
    """The place of the training run that a kept run began from, if it lies in this root."""
    path = run.here(str(run.settings.get("train.init_from") or ""))
    if run.name not in kept or not path.startswith(f"{config.pipeline_root}{os.sep}"):
        return None
    return "/".join(PurePath(os.path.relpath(path, config.pipeline_root)).parts[:_PARTS])


def _places(pipeline_root: str) -> list[str]:
    """All output folders of executions, below `pipeline/`; what TFX keeps for itself begins with a point."""
    found = []
    for node in _folders(pipeline_root):
        for output in _folders(os.path.join(pipeline_root, node)):
            names = _folders(os.path.join(pipeline_root, node, output))
            found += [f"{node}/{output}/{name}" for name in names if name.isdecimal()]
    return sorted(found, key=lambda place: (place.split("/")[0], int(place.split("/")[2]), place))


def _folders(path: str) -> list[str]:
    return [name for name in folders_in(path) if not name.startswith(".")]


def _freed(folder: str, places: Iterable[str]) -> dict[str, int]:
    """Place -> bytes on the disk that its removal frees: a file that has another name elsewhere frees nothing.

    Ingest links finished shards instead of copying them.
    """
    links: dict[tuple[int, int], int] = {}
    found = {}
    for place in places:
        total = 0
        for path, _, names in os.walk(os.path.join(folder, place)):
            for name in names:
                stat = os.lstat(os.path.join(path, name))
                key = (stat.st_dev, stat.st_ino)
                links[key] = links.get(key, 0) + 1
                total += stat.st_blocks * 512 if links[key] == stat.st_nlink else 0
        found[place] = total
    return found


def _files(path: str) -> set[str]:
    return {os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names}


def _remove(path: str) -> dict[str, str]:
    """Removes a folder; of one that is a link, the link alone. What stays, by its path, and why."""
    reasons: dict[str, str] = {}

    def note(_: Any, name: str, raised: Any) -> None:
        error = raised[1]
        if error.errno != errno.ENOTEMPTY:  # for want of what is in it
            reasons[name] = error.strerror

    if os.path.islink(path):
        try:
            os.unlink(path)
        except OSError as error:
            note(os.unlink, path, (OSError, error, None))
    else:
        shutil.rmtree(path, onerror=note)
    return reasons
