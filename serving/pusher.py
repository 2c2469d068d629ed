"""Pusher that loads what it is about to push, and makes it visible whole or not at all."""

import contextlib
import dataclasses
import hashlib
import os
import time
from collections.abc import Iterator
from typing import Any

from tfx import types
from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils, proto_utils

from arcface_common import filesystem
from arcface_common.artifacts import BEST_FILE, EXTRA, SAVED_MODEL_FILE, VERIFICATION_FILE
from arcface_common.aside import private_folder
from arcface_common.console import say
from arcface_common.model_metadata import ModelMetadata
from components.latest_blessed.records import BlessedModel
from serving.check import check_embeddings
from serving.thresholds import for_clients

BLESSED_KEY = "blessed"  # in custom_config: folder of the records of blessed models
ALREADY_SERVED = "already_served"  # custom property of PushedModel: the newest version held this very model
_ASIDE = ".pushing-"  # TF Serving ignores names that are no numbers
# What a SavedModel answers with; fingerprint.pb holds a random number.
_MODEL_PARTS = (SAVED_MODEL_FILE, "variables", "assets")


class CheckedPusherExecutor(executor.Executor):
    """Pushes a blessed model whose embeddings, loaded anew, equal those of the process that exported it.

    Unlike TFX's own, it copies aside and renames, so that a model server never sees half a version; a store renames
    nothing, and gets the graph last, without which a version isn't loaded. It goes to s3://, too. It takes the
    evaluation's `verification.json` along, from which clients have their threshold. Then it records the blessed model,
    with which the next one is compared.
    """

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes, or records that the model was not blessed, or that the newest version is this very model.

        Raises:
          EmbeddingMismatchError: the model does not give the embeddings that it was exported with.
          OSError: the copy is not what was to be pushed.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        model_path = self.GetModelPath(input_dict)
        check_embeddings(model_path)

        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        base = destination.filesystem.base_directory
        blessing = artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_BLESSING_KEY])
        versions = _versions(base)
        version = push(model_path, base, os.path.join(blessing, VERIFICATION_FILE))
        filesystem.copy_folder(os.path.join(base, version), pushed.uri)
        pushed.set_int_custom_property(ALREADY_SERVED, int(int(version) in versions))
        self._MarkPushed(pushed, pushed_destination=os.path.join(base, version), pushed_version=version)
        BlessedModel(
            name=filesystem.path_end(artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_KEY])),
            places=(os.path.join(base, version), model_path, pushed.uri),
            best=_read(os.path.join(blessing, BEST_FILE)),
        ).write(json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])[BLESSED_KEY], version)


def push(model_path: str, base: str, verification: str) -> str:
    """Copies a SavedModel to the next version folder, unless the newest version is the same model.

    A version that is the same model keeps its number: servers needn't load it again. Its figures are replaced.

    Args:
      model_path: the SavedModel.
      base: folder of versions; TF Serving serves the highest number.
      verification: path of the evaluation's figures.

    Returns:
      The version: seconds since 1970, or the number above the newest version's where the clock is behind that.

    Raises:
      OSError: the copy is not what was to be pushed: another push into the same folder disturbed it.
    """
    _remove_leftovers(base)
    newest = max(_versions(base), default=0)
    if newest and model_digest(os.path.join(base, str(newest))) == model_digest(model_path):
        _replace_figures(verification, os.path.join(base, str(newest)))
        return str(newest)
    version = str(max(int(time.time()), newest + 1))
    with _aside(base, version) as aside:
        filesystem.copy_folder(model_path, aside)
        _write_figures(verification, aside)
        if model_digest(aside) != model_digest(model_path):
            raise OSError(f"{aside}: expected a copy of {model_path}. Received: other files; is another push going on?")
        _publish(aside, os.path.join(base, version))
    return version


@contextlib.contextmanager
def _aside(base: str, version: str) -> Iterator[str]:
    """A folder where a version is made ready: beside the others, or on this machine where they are in a store."""
    if filesystem.is_local(base):
        yield os.path.join(base, f"{_ASIDE}{version}")
        return
    with private_folder() as folder:
        yield folder


def _publish(aside: str, version: str) -> None:
    """Gives a version that is ready its place; of one that doesn't come to a store whole, nothing stays."""
    if filesystem.is_local(version):
        os.rename(aside, version)
        return
    try:
        filesystem.copy_folder(aside, version, last=SAVED_MODEL_FILE)
    except BaseException:
        filesystem.remove_folder(version)
        raise


def model_digest(model_path: str) -> str:
    """Digest of the files of a SavedModel that decide its answers, by their names and contents."""
    start, total = f"{model_path.rstrip('/')}/", hashlib.sha256()
    for path in filesystem.files_below(model_path):
        name = path.removeprefix(start)
        if name.partition("/")[0] in _MODEL_PARTS:
            with filesystem.open_read(path) as f:
                digest = hashlib.sha256()
                while piece := f.read(1 << 24):
                    digest.update(piece)
            total.update(f"{name}\0{digest.hexdigest()}\0".encode())
    return total.hexdigest()


def _versions(base: str) -> set[int]:
    """The numbers of the versions in a folder."""
    return {int(name) for name in filesystem.folders_in(base) if name.isdecimal()}


def _remove_leftovers(base: str) -> None:
    """Removes the unfinished copies that pushes left which didn't come to their end."""
    for name in filesystem.folders_in(base):
        if name.startswith(_ASIDE):
            say(f"{os.path.join(base, name)}: left by a push that didn't end; removed")
            filesystem.remove_folder(os.path.join(base, name))


def _replace_figures(verification: str, version: str) -> None:
    """Puts other figures in a version's place for them, aside first."""
    path = os.path.join(version, EXTRA, VERIFICATION_FILE)
    if not filesystem.exists(path) or _read(path) != _read(verification):
        _write_figures(verification, version)


def _write_figures(verification: str, version: str) -> None:
    """Puts an evaluation beside a model, and what clients need of it into its `model.json`."""
    figures = _read(verification)
    extra = os.path.join(version, EXTRA)
    metadata = ModelMetadata.read(extra)
    dataclasses.replace(metadata, evaluation=for_clients(figures)).write(extra)
    filesystem.write_file(os.path.join(extra, VERIFICATION_FILE), figures.encode(), extra)


def _read(path: str) -> str:
    return filesystem.read_file(path).decode()
