"""A folder of aligned faces that a command works on: one it was given, or the crops of a folder of photos."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class AlignedFaces:
    """One folder an identity.

    Attributes:
      folder: where the faces lie.
      photos: of crops, the folder of their photos, under the same names.
      rejected: photos that gave no crop, by their paths below `photos` -> "expected ... Received: ...".
    """

    folder: Path
    photos: Path | None = None
    rejected: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def face(self, path: Path) -> Path:
        """The aligned face of an image that a list names; itself where it is no photo of the folder."""
        if self.photos is not None and path.is_relative_to(self.photos):
            return self.folder / path.relative_to(self.photos)
        return path
