"""What ingest of `train.rec` can be told. Nothing heavy is imported, so that a wrong flag is answered at once."""

import dataclasses
from typing import Any, Literal

from arcface_common.features import MAX_IMAGE_PIXELS
from arcface_common.setting import check_settings, setting


@dataclasses.dataclass(frozen=True)
class IngestSettings:
    """How `train.rec` becomes TFRecord shards.

    Raises:
      ValueError: a value out of range.
    """

    seed: int = setting(1, "Seed of the global permutation of the records, and of the held-out images.", low=0)
    shard_mb: int = setting(128, "Aimed size of a shard in MiB.", low=1)
    shards: int = setting(
        0,
        "Number of shards of the split `train`, at most one an image; 0 takes as many as ingest.shard_mb gives.",
        low=0,
        high=99_999,  # five digits in a shard's name
    )
    on_bad_record: Literal["fail", "quarantine"] = setting(
        "fail",
        "End with the file, key and byte offset of a bad record (fail), or write it aside with the reason and go on "
        "(quarantine); as --on-bad-record.",
    )
    max_bad_share: float = setting(
        0.001, "Share of all records; more bad ones than this fail all the same.", low=0, high=1
    )
    min_images_per_identity: int = setting(
        1, "Identities with fewer images are left out; as --min-images-per-identity.", low=1
    )
    holdout: float = setting(
        0.0,
        "Share of all images that goes to the split `holdout` and is not trained on, for closed-set accuracy while "
        "training; as --holdout. It is drawn over all images, and never takes an identity's last one. 0 makes no such "
        "split. The accuracy goes to TensorBoard each train.holdout_every steps, and at the end to the summary and to "
        "holdout.json beside the checkpoint.",
        low=0,
        high=0.5,
    )
    any_size: bool = setting(
        False, "Take images of other sizes than 112x112, which training resizes; otherwise they are bad records."
    )
    max_image_pixels: int = setting(
        MAX_IMAGE_PIXELS,
        "Width times height of an image at most, known from its header before it is decoded. Larger ones are bad "
        "records, or end the run where a verification set holds them. The most is 2^26: Pillow takes 89 million "
        "pixels for an attack.",
        low=1,
        high=2**26,
    )
    decode: bool = setting(
        False,
        "Decode every image (120 us each) and not only check its header and its end (1 us): finds damage in between.",
    )

    def __post_init__(self) -> None:
        check_settings("ingest", self)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)
