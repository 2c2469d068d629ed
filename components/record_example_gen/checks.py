"""Whether a record is a usable training example: its label, and its image as far as header and end can tell."""

import math

from components.image_header import image_size
from trainer_module import features

_JPEG = features.IMAGE_MAGICS[0]
_TRAILING = 1 << 12  # bytes that may follow a JPEG's or PNG's last marker


class RecordCheck:
    """Says what is wrong with a record.

    Args:
      identities: labels must be below it; None where no header record says how many there are.
      any_size: admit images of other sizes than 112x112.
      decode: decode the image and not only look at its header and end.
    """

    def __init__(self, identities: int | None, any_size: bool, decode: bool) -> None:
        self._end = math.inf if identities is None else identities
        self._any_size = any_size
        self._decode = decode
        # The last header that was parsed, and the marker that ends such an image: files of one encoder begin alike.
        self._known_head = self._known_end = b""

    def __call__(self, label: float, payload: bytes) -> str | None:
        """What was expected and received, e.g. "a JPEG or PNG image. Received: bytes 47 49"; None if all is well."""
        if not (0 <= label < self._end and label.is_integer()):
            allowed = "from 0 on" if self._end == math.inf else f"of 0 .. {self._end - 1}"
            return f"a label that is an identity {allowed}. Received: {label:g}"
        if not (self._known_head and payload.startswith(self._known_head)):
            if (wrong := self._header(payload)) is not None:
                return wrong
        if not payload.endswith(self._known_end) and payload.rfind(self._known_end, -_TRAILING) < 0:
            return f"a whole image. Received: {len(payload)} bytes without an end marker"
        return self._undecodable(payload) if self._decode else None

    def _header(self, payload: bytes) -> str | None:
        """Checks the header, and keeps it if all is well."""
        if not payload.startswith(features.IMAGE_MAGICS):
            return f"a JPEG or PNG image. Received: bytes {payload[:8].hex(' ') or 'none'}"
        found = image_size(payload)
        if found is None:
            return "a JPEG or PNG with its size in the header. Received: no start of frame"
        wanted = features.IMAGE_SIZE
        if (found.width, found.height) != (wanted, wanted) and not self._any_size:
            return (
                f"an image of {wanted}x{wanted} pixels (or ingest.any_size=true). "
                f"Received: {found.width}x{found.height}"
            )
        self._known_head = payload[: found.end]
        self._known_end = b"\xff\xd9" if payload.startswith(_JPEG) else b"IEND"
        return None

    def _undecodable(self, payload: bytes) -> str | None:
        import tensorflow as tf  # 6 s, for those who ask for it

        from trainer_module import images

        try:
            images.decode_stored(tf.constant(payload))
        except tf.errors.InvalidArgumentError as error:
            return f"an image that decodes. Received: {error.message}"
        return None
