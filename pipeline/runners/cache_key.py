"""What TFX keys its cache by, made independent of where the root lies."""

import contextlib
import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from arcface_common.replaced import replaced

_ROOT = "ROOT"


@contextlib.contextmanager
def keys_without_root(root: str) -> Iterator[None]:
    """Lets a moved or copied root find in its cache what it made at its old place.

    TFX hashes the paths and times of a node's inputs, and its properties as text, and offers no hook: so the function
    that does it is wrapped. What the paths hold is in the key all the same: an artifact has its number. An input that
    a parameter was read from has another number in each run, and counts by the parameter's value alone.

    Args:
      root: folder of everything the pipeline writes.
    """
    from tfx.orchestration.portable import cache_utils

    original = cache_utils.get_cache_context

    def without_root(
        *,
        input_artifacts: Mapping[str, Sequence[Any]] | None = None,
        parameters: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> Any:
        # TFX's names of the others begin with a line.
        declared = [(k, v) for k, v in (input_artifacts or {}).items() if not k.startswith("_")]
        return original(
            input_artifacts={k: [_placeless(a, root) for a in v] for k, v in declared},
            parameters={name: _without(str(value), root) for name, value in (parameters or {}).items()},
            **others,
        )

    with replaced(cache_utils, "get_cache_context", without_root):
        yield


def _placeless(artifact: Any, root: str) -> Any:
    """A copy of a TFX artifact without its root and the time of its last change, which moving it is."""
    placeless = copy.deepcopy(artifact)
    placeless.uri = _without(artifact.uri, root)
    placeless.mlmd_artifact.ClearField("last_update_time_since_epoch")
    for value in placeless.mlmd_artifact.custom_properties.values():
        if value.string_value:
            value.string_value = _without(value.string_value, root)
    return placeless


def _without(text: str, root: str) -> str:
    """The text without the root, as it is or as JSON writes it."""
    for written in (root, json.dumps(root)[1:-1]):
        text = text.replace(f"{written}/", f"{_ROOT}/")
    return text
