"""The records of blessed models: a small file for each, beside what is served, on any file system.

ML Metadata has it all on one machine, and nothing on Kubeflow Pipelines, whose backend runs no Resolver. So the pusher
writes `<root>/blessed/<version>.json`, and the next run's first look is into that folder, on every platform.
"""

import dataclasses
import json
import os
import posixpath
from typing import Self

from arcface_common import filesystem
from arcface_common.artifacts import SAVED_MODEL_FILE
from arcface_common.console import say
from arcface_common.errors import DataError, parse_json_object

_ENDING = ".json"
_FILES = (SAVED_MODEL_FILE, "variables/variables.index")


@dataclasses.dataclass(frozen=True)
class BlessedModel:
    """A model that was blessed and pushed.

    Attributes:
      name: the end of its path in the run that made it, e.g. "Exporter/model/10".
      places: folders of the SavedModel and its copies; the first one that is there counts.
      best: text of `best_so_far.dumps`: the best blessed models until then, this one among them.
    """

    name: str
    places: tuple[str, ...]
    best: str

    @property
    def place(self) -> str | None:
        """The first place that holds a SavedModel; None where all are gone."""
        return next(filter(_holds_a_model, self.places), None)

    def write(self, folder: str, version: str) -> None:
        """Writes the record, aside first, or replaces that of the same version.

        Places below the root, which is the folder's parent, are written from there: a root may be moved.
        """
        root = f"{posixpath.dirname(folder.rstrip('/'))}/"
        values = {**dataclasses.asdict(self), "places": [place.removeprefix(root) for place in self.places]}
        path = os.path.join(folder, version + _ENDING)
        filesystem.write_file(path, json.dumps(values, indent=2).encode(), folder)

    @classmethod
    def read(cls, path: str) -> Self:
        """A record.

        Raises:
          DataError: it's no such record; names the file.
          OSError: it can't be read.
        """
        values = parse_json_object(filesystem.read_file(path).decode(errors="replace"), path)
        name, places, best = (values.get(field.name) for field in dataclasses.fields(cls))
        if not (
            isinstance(name, str)
            and isinstance(best, str)
            and isinstance(places, list)
            and all(isinstance(place, str) for place in places)
        ):
            raise DataError(f"{path}: expected name, places and best of a blessed model. Received: {str(values)[:80]}")
        root = posixpath.dirname(posixpath.dirname(path))
        return cls(name, tuple(posixpath.join(root, place) if _is_below(place) else place for place in places), best)


def latest_blessed(folder: str) -> str:
    """Path of the record of the latest blessed model that is there; "" where there is none.

    One that is gone with all its copies, and a record that can't be read, are said; then it is the model before.

    Args:
      folder: of the records; it needn't be there.
    """
    versions = (os.path.basename(path).removesuffix(_ENDING) for path in filesystem.files_below(folder))
    for version in sorted(map(int, filter(str.isdecimal, versions)), reverse=True):
        path = os.path.join(folder, f"{version}{_ENDING}")
        try:
            model = BlessedModel.read(path)
        except (DataError, OSError) as error:
            say(f"WARNING the blessed model of {path} is none to compare with: {error}")
            continue
        if model.place:
            return path
        say(f"the blessed model {model.name} is gone, and where it was pushed, too: nothing is compared with it")
    return ""


def _is_below(place: str) -> bool:
    return filesystem.is_local(place) and not place.startswith("/")


def _holds_a_model(folder: str) -> bool:
    try:
        return all(filesystem.exists(os.path.join(folder, file)) for file in _FILES)
    except ValueError:  # Beam knows no such file system: an object store that Kubeflow Pipelines alone knows
        return False
