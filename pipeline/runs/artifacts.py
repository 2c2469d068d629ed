"""Artifacts of local runs: ML Metadata's records of them, and whether what was once written is still there."""

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from arcface_common.artifacts import METADATA_FILE, SAVED_MODEL_FILE, VERIFICATION_FILE

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
