"""What decides which face of a photo becomes a crop. Standard library only, so that `--help` shows the defaults."""

import dataclasses
import math

from arcface_common.errors import DataError
from arcface_common.features import MAX_IMAGE_PIXELS

MTCNN = "mtcnn"
# How one of several faces is chosen, and what it means.
WHICH = {
    "central": "large and near the middle: area minus twice the squared distance from the photo's centre",
    "largest": "the largest box",
    "surest": "the highest score",
    "only": "none: such a photo is rejected",
}


@dataclasses.dataclass(frozen=True)
class AlignSettings:
    """Which face of a photo is cut out, and what it must fulfil. Each limit that isn't kept is a reason in faces.csv.

    Attributes:
      detector: "mtcnn", or `package.module:function`; see `detectors.load_detector`.
      which: the face that counts where several are found, a name in WHICH. "central" is what facenet's
        `align_dataset_mtcnn.py` does.
      min_score: a face's score at least, 0..1; what MTCNN gives is above 0.8.
      min_face: shorter side of a face's box at least, pixels of the photo.
      max_upscale: how many times a face is enlarged at most; a face box of about 45 pixels is enlarged twice.
      max_padding: share of the crop at most that lies outside of the photo and becomes black, 0..1.
      max_side: the detector sees photos whose longer side is larger reduced to so many pixels. Crops are cut from the
        photo itself.
      max_pixels: width times height of a photo at most; 3 bytes of memory each.

    Raises:
      DataError: a value out of its range.
    """

    detector: str = MTCNN
    which: str = "central"
    min_score: float = 0.8
    min_face: int = 20
    max_upscale: float = 2.0
    max_padding: float = 0.3
    max_side: int = 1024
    max_pixels: int = MAX_IMAGE_PIXELS

    def __post_init__(self) -> None:
        if self.which not in WHICH:
            raise DataError(f"which: expected one of {', '.join(WHICH)}. Received: {self.which!r}")
        for name, low, high in (
            ("min_score", 0, 1),
            ("min_face", 1, 2**31),
            ("max_upscale", 0, math.inf),
            ("max_padding", 0, 1),
            ("max_side", 20, 2**15),
            ("max_pixels", 1, 2**31),
        ):
            value = getattr(self, name)
            if not low <= value <= high or (name == "max_upscale" and not 0 < value < math.inf):
                raise DataError(f"{name}: expected a number of {low} .. {high}. Received: {value!r}")


DEFAULT_SETTINGS = AlignSettings()
