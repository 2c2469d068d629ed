"""Pusher that loads what it is about to push, and makes it visible whole or not at all."""

import os
import time
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from serving.check import check_embeddings
from serving.export import EXTRA, VERIFICATION_FILE


class CheckedPusherExecutor(executor.Executor):
    """Pushes a blessed model whose embeddings, loaded anew, equal those of the process that exported it.

    Unlike TFX's own, it copies aside and renames, so that a model server never sees half a version, and takes the
    evaluation's `verification.json` along, from which clients have their threshold.
    """

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes, or records that the model was not blessed.

        Raises:
          EmbeddingMismatchError: the model does not give the embeddings that it was exported with.
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
        version = push(model_path, base, os.path.join(blessing, VERIFICATION_FILE))
        io_utils.copy_dir(os.path.join(base, version), pushed.uri)
        self._MarkPushed(pushed, pushed_destination=os.path.join(base, version), pushed_version=version)


def push(model_path: str, base: str, verification: str) -> str:
    """Copies a SavedModel to the next version folder.

    Args:
      model_path: the SavedModel.
      base: folder of versions; TF Serving ignores names in it that are no numbers.
      verification: path of the evaluation's figures.

    Returns:
      The version: seconds since 1970, or the next free number.
    """
    version = int(time.time())
    while tf.io.gfile.exists(os.path.join(base, str(version))):
        version += 1
    aside = os.path.join(base, f".pushing-{version}")
    if tf.io.gfile.exists(aside):
        tf.io.gfile.rmtree(aside)
    io_utils.copy_dir(model_path, aside)
    tf.io.gfile.copy(verification, os.path.join(aside, EXTRA, VERIFICATION_FILE))
    tf.io.gfile.rename(aside, os.path.join(base, str(version)))
    return str(version)
