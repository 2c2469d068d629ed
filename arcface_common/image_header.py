"""What the bytes of an encoded image say before a pixel is decoded: size, orientation, whether it is whole.

Standard library only. Sizes are known here before memory is taken for pixels: 21 KB of PNG can ask for 500 MB.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from arcface_common.errors import DataError
from arcface_common.features import IMAGE_MAGICS, MAX_IMAGE_PIXELS

UPRIGHT = 1  # EXIF's orientation of an image that lies in the file as it is to be seen

_JPEG, _PNG = IMAGE_MAGICS
_PNG_START = _PNG + b"\0\0\0\x0dIHDR"  # libpng also takes a PNG that begins with a chunk of a kind it doesn't know
# Markers that carry the image's size: all start-of-frame markers, of which 0xC4, 0xC8 and 0xCC are none.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
# Markers that libjpeg takes before the first scan (ITU T.81, B.1.1.3): without a length, which are TEM and restarts,
# and with one. Others end in an error there; so do start and end of image, which have no length either.
_BARE = frozenset((0x01, *range(0xD0, 0xD8)))
_SEGMENTS = frozenset((*range(0xC0, 0xD0), *range(0xDA, 0xDE), *range(0xE0, 0xF0), 0xFE)) - {0xC8}
_APP1 = 0xE1
_EXIF = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_TRAILING = 1 << 12  # bytes that may follow a JPEG's or PNG's last marker


class ImageError(DataError):
    """An encoded image can't be used; the message begins with "expected", and its caller says which image it is."""


class ImageHeader(NamedTuple):
    """What a header says.

    Attributes:
      width: pixels, as they lie in the file.
      height: pixels, as they lie in the file.
      end: how many bytes of the file it took to know the size; files that begin with the same bytes have the same.
      scan: how many bytes to the end of the marker of a JPEG's first scan; files that begin with the same bytes have
        the same orientation, too. In a PNG, where that can stand anywhere, or without a scan: 0.
      orientation: EXIF's, 1..8; 1 is upright, and what files without it have.
    """

    width: int
    height: int
    end: int
    scan: int
    orientation: int


def read_header(encoded: bytes) -> ImageHeader | None:
    """Header of a JPEG or PNG; None if it is neither, or a JPEG without a start of frame before its first scan.

    Raises:
      ImageError: segments of a JPEG that libjpeg refuses, or must guess at: what they say may not be what is decoded.
    """
    if encoded.startswith(_PNG_START) and len(encoded) >= 24:
        width, height = struct.unpack_from(">II", encoded, 16)
        return ImageHeader(width, height, 24, 0, _png_orientation(encoded))
    if not encoded.startswith(_JPEG):
        return None
    size: tuple[int, int, int] | None = None
    orientation = None
    scan = 0
    for marker, place in _jpeg_segments(encoded):
        if marker in _START_OF_FRAME and place + 9 <= len(encoded):
            if size:
                raise ImageError(f"expected one start of frame. Received: another one at byte {place}")
            height, width = struct.unpack_from(">HH", encoded, place + 5)
            size = (width, height, place + 9)
        elif marker == _APP1 and orientation is None and encoded.startswith(_EXIF, place + 4):
            length = int.from_bytes(encoded[place + 2 : place + 4], "big")
            orientation = _exif_orientation(encoded[place + 10 : place + 2 + length])
        elif marker == _START_OF_SCAN:
            scan = place + 2
    return ImageHeader(*size, scan, orientation or UPRIGHT) if size else None


def check_header(encoded: bytes, max_pixels: int = MAX_IMAGE_PIXELS, setting: str = "") -> ImageHeader:
    """Checks that the bytes begin like a JPEG or PNG whose pixels are not too many.

    Args:
      encoded: the image.
      max_pixels: width times height at most.
      setting: what a user can set that limit by, for the message; "" where nothing can.

    Returns:
      The header.

    Raises:
      ImageError: another format, a header without a size or one that decoders refuse, or too many pixels.
    """
    if not encoded.startswith(IMAGE_MAGICS):
        raise ImageError(f"expected a JPEG or PNG image. Received: bytes {encoded[:8].hex(' ') or 'none'}")
    header = read_header(encoded)
    if header is None:
        raise ImageError("expected a JPEG or PNG with its size in the header. Received: no start of frame")
    if not 0 < header.width * header.height <= max_pixels:
        limit = f"1 to {max_pixels:,} pixels{setting and f' ({setting})'}"
        raise ImageError(f"expected an image of {limit}. Received: {header.width}x{header.height}")
    return header


def check_end(encoded: bytes) -> None:
    """Checks that a JPEG or PNG ends as such files do: one that was cut does not.

    Raises:
      ImageError: its last marker isn't there.
    """
    end = end_marker(encoded)
    if not encoded.endswith(end) and encoded.rfind(end, -_TRAILING) < 0:
        raise ImageError(f"expected a whole image. Received: {len(encoded)} bytes without an end marker")


def end_marker(encoded: bytes) -> bytes:
    """What stands at or near the end of a file that begins like this one."""
    return b"\xff\xd9" if encoded.startswith(_JPEG) else b"IEND"


def may_turn_later(encoded: bytes, end: int) -> bool:
    """Whether an orientation may stand behind the size, where two files that begin alike can still differ.

    False is sure. It takes 2 us, so that images whose tables differ needn't have their headers parsed.
    """
    if encoded.startswith(_JPEG):
        return encoded.find(_EXIF, end) >= 0  # up to the end: a comment may hold what looks like a scan's marker
    return any(kind == b"eXIf" for kind, _, _ in _png_chunks(encoded))


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment, the last one that of the first scan; fewer where the bytes end before.

    libjpeg skips bytes between segments, and TensorFlow and OpenCV refuse them: so they are refused here.
    """
    place = 2
    while place + 4 <= len(encoded):
        prefix, marker = encoded[place : place + 2]
        if prefix == marker == 0xFF:  # a fill byte moves on by itself
            place += 1
            continue
        length = int.from_bytes(encoded[place + 2 : place + 4], "big")
        if prefix == 0xFF and marker in _BARE:
            length = 0
        elif prefix != 0xFF or marker not in _SEGMENTS or length < 2:
            found = encoded[place : place + 4].hex(" ")
            raise ImageError(f"expected a JPEG's marker and length at byte {place}. Received: {found}")
        else:
            yield marker, place
        if marker == _START_OF_SCAN:
            return
        place += 2 + length


def _png_chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each chunk, and where its data begin and end."""
    place = len(_PNG)
    while place + 12 <= len(encoded):
        begin = place + 8
        place = begin + int.from_bytes(encoded[place : place + 4], "big") + 4
        yield encoded[begin - 4 : begin], begin, place - 4


def _png_orientation(encoded: bytes) -> int:
    """That of the chunk eXIf, wherever it stands; one whose checksum is wrong doesn't count, as with libpng."""
    for kind, begin, end in _png_chunks(encoded):
        if kind == b"eXIf":
            whole = encoded[end : end + 4] == zlib.crc32(encoded[begin - 4 : end]).to_bytes(4, "big")
            return (_exif_orientation(encoded[begin:end]) if whole else None) or UPRIGHT
    return UPRIGHT


def _exif_orientation(tiff: bytes) -> int | None:
    """The orientation in the first directory of EXIF's TIFF structure, read as OpenCV reads it; None if there is none.

    Its two bytes count, whatever type the entry says that it has.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    if directory + 2 > len(tiff):
        return None
    (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
    for place in range(directory + 2, min(directory + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, *_, value = struct.unpack_from(f"{order}HHIH", tiff, place)
        if tag == _ORIENTATION_TAG:
            return value if 1 <= value <= 8 else None
    return None
