"""TF Serving's batching file, by which our server batches, too."""

import pathlib

from google.protobuf import text_format

from arcface_common.bounded_file import MAX_TABLE_BYTES, read_bounded
from arcface_common.errors import DataError
from serving.protos import message
from serving.server.batching import BatchingParameters

DEFAULT = pathlib.Path(__file__).parent.parent / "tf_serving" / "batching.config"
_NUMBERS = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
_LEAST = {"batch_timeout_micros": 0}


def read_batching_parameters(path: str | pathlib.Path = DEFAULT) -> BatchingParameters:
    """Reads BatchingParameters in protobuf's text format, as `--batching_parameters_file` of TF Serving takes them.

    Args:
      path: of the file; ours for TF Serving by default. What it doesn't say is as that one says.

    Raises:
      DataError: it is no such file, or its values contradict each other.
    """
    text = read_bounded(str(path), MAX_TABLE_BYTES, "MAX_TABLE_BYTES").decode(errors="replace")
    parsed = message("tf_serving", "arcface_tfx.tf_serving.BatchingParameters")()
    try:
        text_format.Parse(text, parsed)
    except text_format.ParseError as error:
        raise DataError(f"{path}: expected TF Serving's BatchingParameters. Received: {error}") from error
    given = {name: getattr(parsed, name).value for name in _NUMBERS if parsed.HasField(name)}
    for name, value in given.items():
        if value < _LEAST.get(name, 1):
            raise DataError(f"{path}: {name}: expected at least {_LEAST.get(name, 1)}. Received: {value}")
    if "max_batch_size" in given or parsed.allowed_batch_sizes:
        given["allowed_batch_sizes"] = tuple(parsed.allowed_batch_sizes)
    parameters = BatchingParameters(**given)
    sizes = list(parameters.allowed_batch_sizes)
    if sizes and (sizes != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != parameters.max_batch_size):
        raise DataError(
            f"{path}: allowed_batch_sizes: expected rising sizes, the last of which is max_batch_size, "
            f"{parameters.max_batch_size}. Received: {sizes}"
        )
    return parameters
