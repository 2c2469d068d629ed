"""Messages of the wire, from kept descriptors: in pools of their own, so that none clashes with what a caller imports.

`*.binpb` are the descriptors of `*.proto`. `python -m tools.protos` makes them anew.
"""

import functools
import pathlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FOLDER = pathlib.Path(__file__).parent


@functools.cache
def pool(name: str) -> descriptor_pool.DescriptorPool:
    """The pool of a `.proto` file here and of what it imports.

    Args:
      name: "tf_serving" or "open_inference".
    """
    files = descriptor_pb2.FileDescriptorSet.FromString((FOLDER / f"{name}.binpb").read_bytes())
    made = descriptor_pool.DescriptorPool()
    for file in files.file:
        made.Add(file)
    return made


@functools.cache
def message(name: str, full_name: str) -> Any:
    """The class of a message, such as `message("tf_serving", "arcface_tfx.tf_serving.PredictRequest")`."""
    return message_factory.GetMessageClass(pool(name).FindMessageTypeByName(full_name))
