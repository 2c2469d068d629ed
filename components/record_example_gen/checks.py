"""Whether a record is a usable training example: its label, and its image as far as header and end can tell."""

from arcface_common.features import IMAGE_SIZE, MAX_IMAGE_PIXELS, MAX_PIXELS_SETTING
from arcface_common.image_header import UPRIGHT, ImageError, check_end, check_header, end_marker, may_turn_later
from components.formats.recordio import FLOAT32_EXACT

# Exclusive: a record keeps a label as float32, which has one number for 2**24 and 2**24 + 1: two people become one.
LABELS = FLOAT32_EXACT


class RecordCheck:
    """Says what is wrong with a record.

    Args:
      any_size: admit images of other sizes than 112x112.
      decode: decode the image and not only look at its header and end.
      max_pixels: width times height at most.

    Attributes:
      orientation: EXIF's, of the image that was checked last.
    """

    def __init__(self, any_size: bool, decode: bool = False, max_pixels: int = MAX_IMAGE_PIXELS) -> None:
        self.orientation = UPRIGHT
        self._any_size = any_size
        self._decode = decode
        self._max_pixels = max_pixels
        # The last header of an upright image that was parsed, and the marker that ends such an image: files of one
        # encoder begin alike, up to their size at least, and those with the usual tables up to their scan.
        self._known_start = self._known_size = self._known_end = b""

    def __call__(self, label: float, payload: bytes) -> str | None:
        """What was expected and received, "expected a whole image. Received: ..." say; None if all is well."""
        if (wrong := wrong_label(label)) is not None:
            return wrong
        try:
            if not (self._known_start and payload.startswith(self._known_start)):
                self._header(payload)
            if not payload.endswith(self._known_end):
                check_end(payload)
            if self._decode:
                _check_decodes(payload)
        except ImageError as error:
            return str(error)
        return None

    def _header(self, payload: bytes) -> None:
        """Checks the header, and keeps it if images that begin like it need no second look."""
        known = self._known_size
        if known and payload.startswith(known) and not may_turn_later(payload, len(known)):
            self.orientation = UPRIGHT
            return
        header = check_header(payload, self._max_pixels, MAX_PIXELS_SETTING)
        if (header.width, header.height) != (IMAGE_SIZE, IMAGE_SIZE) and not self._any_size:
            raise ImageError(
                f"expected an image of {IMAGE_SIZE}x{IMAGE_SIZE} pixels (or ingest.any_size=true). "
                f"Received: {header.width}x{header.height}"
            )
        self.orientation = header.orientation
        upright = header.orientation == UPRIGHT
        self._known_start = payload[: header.scan] if upright else b""
        self._known_size = payload[: header.end] if upright else b""
        self._known_end = end_marker(payload)


def wrong_label(label: float) -> str | None:
    """What was expected and received if a label is no identity; None if it is one."""
    if 0 <= label < LABELS and label.is_integer():
        return None
    expected = "a label that is an identity, a whole number of 0 .. 2**24 - 1 (float32 holds no larger ones exactly)"
    return f"expected {expected}. Received: {label:.12g}"


def _check_decodes(payload: bytes) -> None:
    import tensorflow as tf  # 6 s, for those who ask for it

    from trainer_module.data import images

    try:
        images.decode_stored(tf.constant(payload))
    except tf.errors.InvalidArgumentError as error:
        raise ImageError(f"expected an image that decodes. Received: {error.message}") from error
