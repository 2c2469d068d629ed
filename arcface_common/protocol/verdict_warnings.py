"""What must not be overlooked beside a verdict."""

from collections.abc import Mapping
from typing import Any

from arcface_common.protocol.leaks import leak_warnings


def verdict_warnings(verification: Mapping[str, Any]) -> list[str]:
    """Sentences about what flatters or spoils the figures, each with its set.

    Args:
      verification: what `verification.json` says.
    """
    of_sets = [f"{name}: {text}" for name, texts in verification["warnings"].items() for text in texts]
    return [*leak_warnings(verification["leaks"]), *of_sets]
