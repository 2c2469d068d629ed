"""Whether paths that a user gives can be taken literally: TFX and Beam look for files by globs."""

from arcface_common.errors import DataError, argument
from arcface_common.filesystem import is_local

_GLOB_CHARACTERS = frozenset("[]*?\\")


def check_places(data: str, root: str, here: bool) -> None:
    """Checks the data set's folder and that of the results.

    A data set on this machine may be called anything: our own code reads it. On another file system and in a container,
    Beam and TFX's stock driver look for its files, and everywhere for those below the root.

    Args:
      data: folder of the data set.
      root: folder of everything the pipeline writes.
      here: the pipeline runs on this machine.

    Raises:
      DataError: a path with a character that a glob takes for another one, or that can't be printed.
    """
    places = {"root": root} if here and is_local(data) else {"root": root, "data": data}
    for name, place in places.items():
        wrong = sorted(c for c in set(place) if c in _GLOB_CHARACTERS or not c.isprintable())
        if wrong:
            named = " ".join(repr(character) for character in wrong)
            raise DataError(
                f"{argument(name)} must be a path without {named}, which TFX takes for a pattern. Received: {place!r}"
            )
    if here and not is_local(root):
        raise DataError(f"{argument('root')} must be a folder on this machine. Received: {root!r}")
