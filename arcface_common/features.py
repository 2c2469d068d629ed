"""The one place of feature names, image shape, colour order and value range.

Imports nothing outside the standard library, so that every package (and `--help`) can read it for free.
"""

import dataclasses
import math
from typing import Any, Literal, Self

# Train Example: the untouched JPEG or PNG bytes, the identity as the record has it, and the record's key in train.rec.
IMAGE = "image"
LABEL = "label"
KEY = "key"

# Pair Example: one verification pair, in the order of the published list.
IMAGE_A = "image_a"
IMAGE_B = "image_b"
IS_SAME = "is_same"
PAIR_INDEX = "pair_index"
SET = "set"
ATTRIBUTES = "attributes"  # optional: "column=value" for each attribute of the pair that is known
IDENTITIES = "identities"  # optional: labels of the training set's kind, of the one or two people in the pair
FILES = "files"  # optional: names of both images, "a / b"

# Transform's output: the identity as a contiguous class index, and the vocabulary file that maps it back.
CLASS_INDEX = "class_index"
IDENTITY_VOCABULARY = "identity"

# InsightFace's alignment template is 112 x 112 pixels, square.
IMAGE_SIZE = 112
CHANNELS = 3
JPEG_MAGIC, PNG_MAGIC = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # how a JPEG and a PNG begin
IMAGE_MAGICS = (JPEG_MAGIC, PNG_MAGIC)
MAX_IMAGE_PIXELS = 2**24  # decoded at most, where no setting says otherwise: a photograph of 4096x4096, 50 MB
MAX_PIXELS_SETTING = "ingest.max_image_pixels"  # by which a run is told another limit
MAX_SET_MB = 1024  # of images that a verification set becomes as pairs; LFW's 6,000 pairs take 90

# Names in the exported signatures (serving/signatures.py).
IMAGE_BYTES = "image_bytes"
IMAGE_A_BYTES = "image_a_bytes"
IMAGE_B_BYTES = "image_b_bytes"
PIXELS = "pixels"
LANDMARKS = "landmarks"
EMBEDDING = "embedding"
NORM = "norm"
VALID = "valid"  # whether an image could be used; what stands beside it is zeros where not
COSINE = "cosine"

# Splits that the example generators write.
TRAIN_SPLIT = "train"
HOLDOUT_SPLIT = "holdout"  # images of training identities that are not trained on
VERIFY_SPLIT = "verify"  # images of identities that are not trained on, and the verification set that is drawn of them
VERIFICATION_SETS = ("lfw", "cfp_ff", "cfp_fp", "agedb_30")

FEWEST_IDENTITIES = 2  # that can be trained on: one alone has nobody to be told from
FAR_TARGETS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # false accept rates at which a set is judged, and thresholds are kept


@dataclasses.dataclass(frozen=True)
class PixelFormat:
    """How decoded uint8 RGB pixels become the network's input: `(x - mean) / scale` in the given colour order.

    Attributes:
      colour: "rgb" or "bgr", the channel order that the network was trained with.
      mean: subtracted from each value of 0..255.
      scale: divides the difference; 128 gives [-0.996, 0.996] (InsightFace's MXNet models), 127.5 gives [-1, 1]
        (arcface_torch).

    Raises:
      ValueError: an unknown colour order, or a mean or scale that is no finite number, or not positive.
    """

    colour: Literal["rgb", "bgr"] = "rgb"
    mean: float = 127.5
    scale: float = 128.0

    def __post_init__(self) -> None:
        if self.colour not in ("rgb", "bgr"):
            raise ValueError(f"colour must be 'rgb' or 'bgr'. Received: colour={self.colour!r}")
        if not isinstance(self.mean, int | float) or not math.isfinite(self.mean):
            raise ValueError(f"mean must be a finite number. Received: mean={self.mean!r}")
        if not isinstance(self.scale, int | float) or not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be positive. Received: scale={self.scale!r}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values, as the exported model's metadata stores them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
          KeyError: a field is missing; no default stands for what a model was trained with.
        """
        return cls(**{**values, **{field.name: values[field.name] for field in dataclasses.fields(cls)}})


def largest_image_file(max_pixels: int = MAX_IMAGE_PIXELS) -> int:
    """Bytes that an encoded image of so many pixels takes at most.

    That is four channels of 16 bits without any compression, and 1 MiB of what cameras write beside.
    """
    return max_pixels * 4 * 2 + 2**20
