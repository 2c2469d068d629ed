"""Whether a record is a usable training example: its label, and its image as far as header and end can tell."""

import tensorflow as tf

from components.record_example_gen.source import Image
from trainer_module import features, images

_JPEG, _PNG = features.IMAGE_MAGICS
# Markers that carry the image's size: all start-of-frame markers, of which 0xC4, 0xC8 and 0xCC are none.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_TRAILING = 1 << 12  # bytes that may follow a JPEG's or PNG's last marker


class RecordCheck:
    """Says what is wrong with a record.

    Args:
      identities: labels must be below it; None where no header record says how many there are.
      any_size: admit images of other sizes than 112x112.
      decode: decode the image and not only look at its header and end.
    """

    def __init__(self, identities: int | None, any_size: bool, decode: bool) -> None:
        self._identities = identities
        self._any_size = any_size
        self._decode = decode
        # Everything up to the size of the last JPEG that was parsed: files of one encoder begin alike.
        self._known_head = b""

    def __call__(self, image: Image) -> str | None:
        """What was expected and received, e.g. "a JPEG or PNG image. Received: bytes 47 49"; None if all is well."""
        label, payload = image.label, image.payload
        if label < 0 or not label.is_integer() or (self._identities is not None and label >= self._identities):
            allowed = "from 0 on" if self._identities is None else f"of 0 .. {self._identities - 1}"
            return f"a label that is an identity {allowed}. Received: {label:g}"
        if not (self._known_head and payload.startswith(self._known_head)):
            if (wrong := self._header(payload)) is not None:
                return wrong
        end = b"\xff\xd9" if payload.startswith(_JPEG) else b"IEND"
        if payload.rfind(end, -_TRAILING) < 0:
            return f"a whole image. Received: {len(payload)} bytes without an end marker"
        return self._undecodable(payload) if self._decode else None

    def _header(self, payload: bytes) -> str | None:
        """Checks the header, and keeps a JPEG's if it is one of the expected size."""
        if payload.startswith(_JPEG):
            found = _jpeg_size(payload)
        elif payload.startswith(_PNG) and len(payload) >= 24:
            found = (int.from_bytes(payload[16:20], "big"), int.from_bytes(payload[20:24], "big"), 0)
        else:
            return f"a JPEG or PNG image. Received: bytes {payload[:8].hex(' ') or 'none'}"
        if found is None:
            return "a JPEG with its size in the header. Received: no start of frame"
        width, height, head = found
        if (width, height) != (features.IMAGE_SIZE, features.IMAGE_SIZE) and not self._any_size:
            size = features.IMAGE_SIZE
            return f"an image of {size}x{size} pixels (or ingest.any_size=true). Received: {width}x{height}"
        self._known_head = payload[:head]
        return None

    def _undecodable(self, payload: bytes) -> str | None:
        try:
            images.decode(tf.constant(payload))
        except tf.errors.InvalidArgumentError as error:
            return f"an image that decodes. Received: {error.message}"
        return None


def _jpeg_size(payload: bytes) -> tuple[int, int, int] | None:
    """Width, height, and where in the payload they end; None if there is no start of frame before the first scan."""
    place = 2
    while place + 9 <= len(payload) and payload[place] == 0xFF:
        marker = payload[place + 1]
        if marker in _START_OF_FRAME:
            height, width = (int.from_bytes(payload[place + i : place + i + 2], "big") for i in (5, 7))
            return width, height, place + 9
        if marker == _START_OF_SCAN:
            return None
        # A fill byte moves on by itself; any other segment says how long it is.
        place += 1 if marker == 0xFF else 2 + int.from_bytes(payload[place + 2 : place + 4], "big")
    return None
