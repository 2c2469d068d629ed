"""Errors for input that is not what its format says, and what they say."""

import difflib
import json
from collections.abc import Iterable
from typing import Any


class DataError(ValueError):
    """Bad input: names the file, what was expected, and what was received. The command line answers it with exit 2."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What an error about an unknown word ends in: "; did you mean 'lfw'?", or "" where nothing known is like it."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def parse_json_object(text: str, path: str) -> dict[str, Any]:
    """Parses a file of one JSON object.

    Args:
      text: what the file holds.
      path: of the file, for the error.

    Raises:
      DataError: no JSON, or something else than an object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON. Received: {str(error) or type(error).__name__}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object. Received: {type(value).__name__}")
    return value
