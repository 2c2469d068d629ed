"""What a model says about itself, in `model.json`."""

import dataclasses
import json
import os
from typing import Any, Self

from arcface_common import filesystem
from arcface_common.artifacts import METADATA_FILE
from arcface_common.bounded_file import MAX_TABLE_BYTES, read_bounded
from arcface_common.errors import DataError, is_number
from arcface_common.features import IMAGE_SIZE, MAX_IMAGE_PIXELS, PixelFormat

_JSON = {str: "strings", dict: "objects"}


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """What a user of the exported model has to know about it.

    Attributes:
      backbone: name in the registry.
      options: arguments of `backbones.build` beside the name.
      embedding_dim: D.
      pixel_format: colour order and value range inside the graph; the input is image bytes whatever it says.
      classes: identities that it was trained on; 0 where that is not known.
      training: the settings of the training run, or where imported weights came from.
      image_size: height and width of the aligned faces that it expects; the graph resizes others, and says nothing.
      max_image_pixels: width x height of an image that the graph decodes at most.
      data_digest: of the files that it was trained on; "" where that is not known.
      code_version: of the code that wrote this, the Trainer's in a training run, the Exporter's in a SavedModel; "" for
        an import.
      evaluation: what a client needs of its `verification.json`, once it is pushed; see `thresholds.for_clients`.
    """

    backbone: str
    options: dict[str, Any]
    embedding_dim: int
    pixel_format: PixelFormat
    classes: int
    training: dict[str, Any]
    image_size: int = IMAGE_SIZE
    max_image_pixels: int = MAX_IMAGE_PIXELS
    data_digest: str = ""
    code_version: str = ""
    evaluation: dict[str, Any] = dataclasses.field(default_factory=dict)

    def write(self, folder: str) -> None:
        """Writes `model.json`."""
        content = json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True)
        filesystem.write_file(os.path.join(folder, METADATA_FILE), content.encode(), folder)

    def facts(self) -> dict[str, str]:
        """What a report says about the model, by a short name each."""
        return {
            "backbone": f"{self.backbone}, {self.embedding_dim} dimensions",
            "pixels": str(self.pixel_format),
            "trained on": f"{self.classes} identities" if self.classes else "see its source",
            "training": ", ".join(f"{name}={value}" for name, value in self.training.items()),
        }

    @classmethod
    def read(cls, folder: str) -> Self:
        """Reads the `model.json` of an exported model (in its `assets.extra`), of a training run or of an import.

        Raises:
          DataError: none of these, or the file is broken or too large.
        """
        path = os.path.join(folder, METADATA_FILE)
        try:
            content = read_bounded(path, MAX_TABLE_BYTES, "MAX_TABLE_BYTES")
        except OSError as error:
            raise DataError(f"{path}: expected what this project writes about a model. Received: {error!r}") from error
        return cls.parse(content, path)

    @classmethod
    def parse(cls, content: str | bytes, path: str) -> Self:
        """`read` of what a file holds.

        Args:
          content: of the file.
          path: for errors.
        """
        try:
            values = json.loads(content)
            found = cls(**{**values, "pixel_format": PixelFormat.from_dict(values["pixel_format"])})
            found._check()
            return found
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path}: expected what this project writes about a model. Received: {error!r}") from error

    def _check(self) -> None:
        """Raises ValueError where a field is not what it is said to be."""
        for name, least in (("embedding_dim", 1), ("classes", 0), ("image_size", 1), ("max_image_pixels", 1)):
            value = getattr(self, name)
            if not is_number(value, int) or not least <= value < 2**31:
                raise ValueError(f"{name} must be a whole number of {least} to {2**31 - 1}, not {value!r}")
        for name, kind in (
            ("backbone", str),
            ("data_digest", str),
            ("code_version", str),
            ("options", dict),
            ("training", dict),
            ("evaluation", dict),
        ):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be of JSON's {_JSON[kind]}, not {getattr(self, name)!r}")
        for name in ("mean", "scale"):
            if not is_number(getattr(self.pixel_format, name)):
                raise ValueError(f"{name} must be a number, not {getattr(self.pixel_format, name)!r}")
