"""Which SavedModel a path means. Needs no TensorFlow, so that it is known before that is loaded."""

import os

from arcface_common import filesystem
from arcface_common.artifacts import IMPORTED_MODEL, SAVED_MODEL_FILE
from arcface_common.errors import DataError
from arcface_common.paths import check_folder_of_files, check_regular
from serving.published import how_to_import


def resolve(path: str) -> str:
    """Finds the SavedModel: the folder itself, that of an import, or the highest version below.

    Raises:
      DataError: none of these, or a pipe, say, in a file's place.
    """
    found = find(path)
    if filesystem.is_local(found):
        if os.path.exists(graph := os.path.join(found, SAVED_MODEL_FILE)):
            check_regular(graph)
        check_folder_of_files(found)
    return found


def find(path: str) -> str:
    """`resolve` without a look at the model's files: a server takes the version before a damaged one.

    Raises:
      DataError: none of these.
    """
    for candidate in (path, os.path.join(path, IMPORTED_MODEL)):
        if filesystem.exists(os.path.join(candidate, SAVED_MODEL_FILE)):
            return candidate
    names = filesystem.folders_in(path)
    versions = [int(name) for name in names if name.isascii() and name.isdigit()]
    if versions:
        return os.path.join(path, str(max(versions)))
    if names or (filesystem.is_local(path) and os.path.isdir(path)):
        raise DataError(
            f"{path}: expected a SavedModel or a folder of numbered versions. Received: neither{how_to_import(path)}"
        )
    received = "a file" if filesystem.exists(path) else "no such folder"
    raise DataError(f"{path}: expected the folder of a model. Received: {received}{how_to_import(path)}")


def find_network(path: str) -> str:
    """Finds a network of any origin: an ONNX file, or a SavedModel as `resolve` finds it.

    Raises:
      DataError: neither.
    """
    if not os.path.isfile(path):
        return resolve(path)
    if not path.endswith(".onnx"):
        raise DataError(
            f"{path}: expected a SavedModel's folder or a file *.onnx. Received: another file{how_to_import(path)}"
        )
    return path
