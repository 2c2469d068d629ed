"""Size of an encoded image, from its header alone. Standard library only."""

from typing import NamedTuple

from trainer_module.features import IMAGE_MAGICS

_JPEG, _PNG = IMAGE_MAGICS
# Markers that carry the image's size: all start-of-frame markers, of which 0xC4, 0xC8 and 0xCC are none.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA


class ImageSize(NamedTuple):
    """What a header says.

    Attributes:
      width: pixels.
      height: pixels.
      end: how many bytes of the file it took to know; files that begin with the same bytes have the same size.
    """

    width: int
    height: int
    end: int


def image_size(encoded: bytes) -> ImageSize | None:
    """Size of a JPEG or PNG; None if it is neither, or a JPEG without a start of frame before its first scan."""
    if encoded.startswith(_PNG) and len(encoded) >= 24:
        return ImageSize(int.from_bytes(encoded[16:20], "big"), int.from_bytes(encoded[20:24], "big"), 24)
    if not encoded.startswith(_JPEG):
        return None
    place = 2
    while place + 9 <= len(encoded) and encoded[place] == 0xFF:
        marker = encoded[place + 1]
        if marker in _START_OF_FRAME:
            height, width = (int.from_bytes(encoded[place + i : place + i + 2], "big") for i in (5, 7))
            return ImageSize(width, height, place + 9)
        if marker == _START_OF_SCAN:
            return None
        # A fill byte moves on by itself; any other segment says how long it is.
        place += 1 if marker == 0xFF else 2 + int.from_bytes(encoded[place + 2 : place + 4], "big")
    return None
