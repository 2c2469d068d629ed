"""Artifacts of local runs: ML Metadata's records of them, and whether what was once written is still there."""

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from arcface_common.artifacts import METADATA_FILE, SAVED_MODEL_FILE, VERIFICATION_FILE
from arcface_common.aside import file_aside

MODEL_FOLDER = "Format-Serving"  # TFX's name
_SHARD = re.compile(r".*-\d{5}-of-(?P<shards>\d{5})\b.*")
_SAVED_MODEL = (SAVED_MODEL_FILE, os.path.join("variables", "variables.index"))
# Files without which an artifact is of no use. One that isn't named must hold a file.
_FILES = {
    "Model": tuple(os.path.join(MODEL_FOLDER, file) for file in _SAVED_MODEL),
    "ModelRun": (METADATA_FILE, os.path.join("checkpoint", "model.index")),
    "ModelEvaluation": (VERIFICATION_FILE,),
    "ModelBlessing": (VERIFICATION_FILE,),
    "Schema": ("schema.pbtxt",),
    "TransformGraph": (os.path.join("transform_fn", SAVED_MODEL_FILE), "transformed_metadata"),
}


def open_store(path: str) -> MetadataStore:
    """ML Metadata in a SQLite file, which is made if it isn't there."""
    connection = mlmd.ConnectionConfig()
    connection.sqlite.filename_uri = path
    return MetadataStore(connection)


@contextlib.contextmanager
def full_disk_named(path: str) -> Iterator[None]:
    """Has a full disk under ML Metadata's file end as it does elsewhere; SQLite says neither path nor what is full.

    Raises:
      OSError: the disk is full; names the file.
    """
    try:
        yield
    except Exception as error:  # ml_metadata's, by what it was doing
        if "database or disk is full" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path) from error


def is_whole(kind: str, artifact: mlmd.Artifact) -> bool:
    """Whether an artifact's folder is there with all that it was written with, as far as names tell.

    Args:
      kind: its type's name.
      artifact: with its local folder as `uri`.
    """
    if kind == "String":
        return os.path.exists(artifact.uri)
    if kind == "PushedModel" and not _pushed_to(artifact):
        return os.path.isdir(artifact.uri)
    if kind == "PushedModel":
        return _holds_a_model(artifact.uri) and _holds_a_model(_pushed_to(artifact))
    if "split_names" in artifact.properties:
        names = json.loads(artifact.properties["split_names"].string_value or "[]")
        return all(_is_whole_split(os.path.join(artifact.uri, f"Split-{name}")) for name in names)
    files = _FILES.get(kind)
    if files is None:
        return any(names for _, _, names in os.walk(artifact.uri))
    return all(os.path.exists(os.path.join(artifact.uri, file)) for file in files)


def record_files(artifact: str) -> None:
    """Notes beside an artifact's folder which files it has been written with, for `damage` to compare with.

    Within it, TFX would take the note for one of the artifact's files. A value, whose artifact is a file, has no note.
    """
    if os.path.isdir(artifact):
        with file_aside(files_note(artifact)) as path:
            path.write_text(json.dumps(_sizes(artifact), sort_keys=True))


def files_note(artifact: str) -> Path:
    """JSON file of the names and bytes of the files in an artifact's folder."""
    return Path(artifact).with_name(f".{os.path.basename(artifact)}.files.json")


def damage(artifact: mlmd.Artifact) -> str:
    """How an artifact's folder, and the version that it was pushed as, isn't as it was written; "" where it is.

    Names and sizes tell. A file more counts where all files are read: in a split. What an earlier release wrote has
    nothing to compare with.

    Args:
      artifact: with its local folder as `uri`.
    """
    note = files_note(artifact.uri)
    if not note.is_file():
        return ""
    try:
        written = {str(name): int(size) for name, size in json.loads(note.read_text()).items()}
    except (ValueError, TypeError, AttributeError):
        return f"{note} can't be read"
    pushed = _pushed_to(artifact)
    return _difference(written, artifact.uri) or (pushed and _difference(written, pushed))


def _difference(written: dict[str, int], folder: str) -> str:
    """Where a folder's files differ from those that were written, "" if nowhere."""
    found = _sizes(folder)
    for name, size in sorted(written.items()):
        if found.get(name) != size:
            there = f"{found[name]:,}" if name in found else "none"
            return f"{os.path.join(folder, name)} has {there} of {size:,} bytes"
    added = (name for name in sorted(found.keys() - written.keys()) if name.startswith("Split-"))
    return next((f"{os.path.join(folder, name)} was not written by it" for name in added), "")


def _sizes(folder: str) -> dict[str, int]:
    """Files of a folder and those below it, without hidden ones -> bytes."""
    return {
        os.path.relpath(path, folder): os.path.getsize(path)
        for parent, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".") and os.path.isfile(path := os.path.join(parent, name))
    }


def _holds_a_model(folder: str) -> bool:
    """Whether a folder holds a SavedModel."""
    return all(os.path.exists(os.path.join(folder, file)) for file in _SAVED_MODEL)


def folder_of(artifact: mlmd.Artifact) -> str:
    """The folder that an execution had for an output; a value's artifact is a file in it."""
    return str(artifact.uri).removesuffix("/value")


def _pushed_to(pushed: mlmd.Artifact) -> str:
    """The version that a PushedModel was pushed as, "" if it wasn't."""
    # Asking a protobuf map for what isn't there would put it there.
    known = "pushed_destination" in pushed.custom_properties
    return pushed.custom_properties["pushed_destination"].string_value if known else ""


def _is_whole_split(folder: str) -> bool:
    names = _names(folder)
    shards = [int(found["shards"]) for name in names if (found := _SHARD.fullmatch(name))]
    return bool(names) and all(count == len(shards) for count in shards)


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []
