"""What ingest of `train.rec` can be told. Nothing heavy is imported, so that a wrong flag is answered at once."""

import dataclasses
from typing import Any, Literal

from pydantic import Field

from arcface_common.features import MAX_IMAGE_PIXELS
from arcface_common.setting import Number, Whole, refuse_unused, section


@section("ingest")
class IngestSettings:
    """How `train.rec` becomes TFRecord shards.

    Raises:
      ConfigError: a value out of range, or one that would be silently ignored.
    """

    seed: Whole = Field(
        default=1, ge=0, description="Seed of the global permutation of the records, and of the held-out images."
    )
    shard_mb: Whole = Field(default=128, ge=1, le=2**20, description="Aimed size of a shard in MiB.")
    shards: Whole = Field(
        default=0,
        ge=0,
        le=99_999,  # five digits in a shard's name
        description="Number of shards of the split `train`, at most one an image; 0 takes as many as "
        "ingest.shard_mb gives.",
    )
    on_bad_record: Literal["fail", "quarantine"] = Field(
        default="fail",
        description="End with the file, key and byte offset of a bad record (fail), or write it aside with the "
        "reason and go on (quarantine); as --on-bad-record.",
    )
    max_bad_share: Number = Field(
        default=0.001, ge=0, le=1, description="Share of all records; more bad ones than this fail all the same."
    )
    min_images_per_identity: Whole = Field(
        default=1, ge=1, description="Identities with fewer images are left out; as --min-images-per-identity."
    )
    holdout: Number = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Share of all images that goes to the split `holdout` and is not trained on, for closed-set "
        "accuracy while training; as --holdout. It is drawn over all images, and never takes an "
        "identity's last one. 0 makes no such split. The accuracy goes to TensorBoard each "
        "train.holdout_every steps, and at the end to the summary and to holdout.json beside the "
        "checkpoint.",
    )
    verify_identities: Number = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Share of the identities that is kept out of training altogether, for the verification set "
        "`verify`, whose pairs are drawn of them; as --verify-identities. ingest.seed decides which. 0 keeps none out.",
    )
    any_size: bool = Field(
        default=False,
        description="Take images of other sizes than 112x112, which training resizes; otherwise they are bad records.",
    )
    max_image_pixels: Whole = Field(
        default=MAX_IMAGE_PIXELS,
        ge=1,
        le=2**26,
        description="Width times height of an image at most, known from its header before it is decoded. Larger "
        "ones are bad records, or end the run where a verification set holds them. The most is 2^26: "
        "Pillow takes 89 million pixels for an attack.",
    )
    decode: bool = Field(
        default=False,
        description="Decode every image (120 us each) and not only check its header and its end (1 us): finds what "
        "can't be decoded. A JPEG whose middle is damaged mostly can, and shows blocks of other colours.",
    )

    def __post_init__(self) -> None:
        unused = {
            "shard_mb": f"with ingest.shards={self.shards}" if self.shards else "",
            "max_bad_share": "with ingest.on_bad_record=fail" if self.on_bad_record == "fail" else "",
        }
        refuse_unused((self, name, why) for name, why in unused.items() if why)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)
