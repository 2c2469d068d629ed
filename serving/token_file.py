"""The file that a bearer token is kept in."""

from arcface_common.bounded_file import MAX_TABLE_BYTES, read_bounded
from arcface_common.errors import DataError

_SHORTEST = 16


def read_token(path: str) -> str:
    """The token in a file; white space around it doesn't count.

    Raises:
      DataError: it is too short to be a secret, no text, or no file.
    """
    try:
        token = read_bounded(path, MAX_TABLE_BYTES, "MAX_TABLE_BYTES").decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a token in ASCII. Received: other bytes") from error
    if len(token) < _SHORTEST or not token.isprintable() or " " in token:
        raise DataError(
            f"{path}: expected a token of at least {_SHORTEST} characters without spaces. "
            f"Received: {len(token)} characters"
        )
    return token
