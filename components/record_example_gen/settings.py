"""What ingest of `train.rec` can be told. Nothing heavy is imported, so that a wrong flag is answered at once."""

import dataclasses
import math
from typing import Any, Literal

from trainer_module.features import MAX_IMAGE_PIXELS

_MOST_PIXELS = 2**26  # 67 million: beyond 89 million Pillow takes a picture for an attack


@dataclasses.dataclass(frozen=True)
class IngestSettings:
    """How `train.rec` becomes TFRecord shards.

    Attributes:
      seed: of the global permutation of the records, and of the choice of held-out images.
      shard_mb: aimed size of a shard in MiB.
      shards: number of shards of the split `train`; 0 takes as many as `shard_mb` gives.
      on_bad_record: "fail" ends with the file, key and byte offset of a bad record; "quarantine" writes it aside with
        the reason and goes on.
      max_bad_share: of all records, 0..1; more bad ones than this fail all the same.
      min_images_per_identity: identities with fewer images are left out.
      holdout: share of the images, 0..0.5, that goes to the split `holdout` and not to `train`, for closed-set accuracy
        while training: drawn over all images, and never an identity's last one. 0 makes no such split.
      any_size: take images of other sizes than 112x112, which training resizes; otherwise they are bad records.
      max_image_pixels: width times height of an image at most, known before it is decoded; larger ones are bad records,
        or end the run where a verification set holds them.
      decode: decode every image (120 us each) and not only check its header and its end (1 us): finds damage in
        between.

    Raises:
      ValueError: a value out of range.
    """

    seed: int = 1
    shard_mb: int = 128
    shards: int = 0
    on_bad_record: Literal["fail", "quarantine"] = "fail"
    max_bad_share: float = 0.001
    min_images_per_identity: int = 1
    holdout: float = 0.0
    any_size: bool = False
    max_image_pixels: int = MAX_IMAGE_PIXELS
    decode: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("seed", 0, None),
            ("shard_mb", 1, None),
            ("shards", 0, None),
            ("max_bad_share", 0, 1),
            ("min_images_per_identity", 1, None),
            ("holdout", 0, 0.5),
            ("max_image_pixels", 1, _MOST_PIXELS),
        ):
            value = getattr(self, name)
            if not low <= value <= (math.inf if high is None else high):  # NaN is neither
                allowed = f"at least {low}" if high is None else f"in [{low}, {high}]"
                raise ValueError(f"ingest.{name} must be {allowed}. Received: {name}={value!r}")
        if self.on_bad_record not in ("fail", "quarantine"):
            raise ValueError(
                f"ingest.on_bad_record must be 'fail' or 'quarantine'. Received: on_bad_record={self.on_bad_record!r}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)
