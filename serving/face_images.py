"""Images of faces as a caller gives them: files, encoded bytes or pixels, checked one by one before a batch is made."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set

import numpy as np
import numpy.typing as npt

from arcface_common import features
from arcface_common.arguments import is_path
from arcface_common.console import say
from arcface_common.errors import DataError, argument
from arcface_common.image_header import ImageError, check_end, check_header
from arcface_common.image_pixels import decode, to_png
from arcface_common.model_metadata import ModelMetadata
from arcface_common.paths import kind

# A file's path, the bytes of a JPEG or PNG, or uint8 [112, 112, 3] in RGB.
FaceImage = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8]
# Is told the position of an image that can't be used, and why.
OnBad = Callable[[int, Exception], None]
# Raises ValueError for bytes, the header of which is known, that are no image, or one of more than so many pixels.
Check = Callable[[bytes, int], None]

_KINDS = "a path, the bytes of a JPEG or PNG, or uint8 [height, width, 3]"
_BYTES_PER_BATCH = 1 << 28  # 256 MiB: 64 faces of 7 KB are far from it, 64 photographs of 30 MB are beyond


def batches(
    images: Iterable[FaceImage] | FaceImage,
    metadata: ModelMetadata,
    *,
    batch_size: int,
    align: bool,
    resize: bool,
    on_bad: OnBad | None,
    check: Check,
) -> Iterator[tuple[list[int], list[bytes]]]:
    """Positions and bytes of whole images of the size that a model expects, at most `batch_size` at a time.

    Args:
      images: of faces; read as they are needed.
      metadata: the model's, with the size that it expects and the pixels that it decodes at most.
      batch_size: images at a time, at least 1; fewer where their bytes come to 256 MiB.
      align: the images are photos, of each of which the face that counts is cut out.
      resize: let images of another size pass; how many is said at the end.
      on_bad: is told what can't be used, and the others go on; if None, the first such image is an error.
      check: looks at an image, the header of which is known.

    Raises:
      DataError: an image that can't be used, or both `resize` and `align`.
    """
    if align and resize:
        raise DataError("expected one of resize and align: crops have the right size. Received: both")
    expected = (metadata.image_size, metadata.image_size)
    positions: list[int] = []
    contents: list[bytes] = []
    taken = resized = size_of_batch = 0
    for position, image in enumerate(_one_or_many(images)):
        try:
            if not isinstance(image, bytes | np.ndarray) and not is_path(image):  # a number would be an open file's
                raise DataError(f"image {position}: expected {_KINDS}. Received: {type(image).__name__}")
            given = _crop(image, position) if align else image
            content, size = _read(given, _name(image, position), metadata.max_image_pixels, check)
            if size != expected and not resize:
                raise DataError(
                    f"{_name(image, position)}: expected an aligned {expected[0]}x{expected[1]} face "
                    f"({argument('align')} takes photos, {argument('resize')} other sizes). "
                    f"Received: {size[0]}x{size[1]} pixels"
                )
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(position, error)
            continue
        taken, resized, size_of_batch = taken + 1, resized + (size != expected), size_of_batch + len(content)
        positions.append(position)
        contents.append(content)
        if len(contents) == batch_size or size_of_batch >= _BYTES_PER_BATCH:
            yield positions, contents
            positions, contents, size_of_batch = [], [], 0
    if contents:
        yield positions, contents
    if resized:
        say(f"{resized:,} of {taken:,} images resized to {expected[0]}x{expected[1]}: their faces must be aligned")


def _one_or_many(images: Iterable[FaceImage] | FaceImage) -> Iterable[FaceImage]:
    """A single image as a list of one: a path or bytes would be gone through letter by letter."""
    if isinstance(images, str | os.PathLike | bytes) or (isinstance(images, np.ndarray) and images.ndim < 4):
        return [images]
    if not isinstance(images, Iterable) or isinstance(images, Mapping | Set):  # neither has an order of its own
        raise DataError(f"images: expected one of {_KINDS}, or several. Received: {type(images).__name__}")
    return images


def _name(image: FaceImage, position: int) -> str:
    """What an error calls an image: its path, or its place among what was given."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {position}"


def _crop(image: FaceImage, position: int) -> np.ndarray:
    """The face that counts in a photo, uint8 [112, 112, 3].

    Raises:
      DataError: it can't be read, or shows none.
    """
    from components.alignment.aligner import aligned, complaint

    if isinstance(image, np.ndarray):
        _check_pixels(image, _name(image, position))
        if not image.size:
            raise DataError(f"{_name(image, position)}: expected at least 1 pixel. Received: none")
    photo = to_png(image) if isinstance(image, np.ndarray) else image
    [found] = aligned([photo])
    if found.pixels is None:
        raise DataError(complaint(dataclasses.replace(found.row, file=_name(image, position))))
    return found.pixels


def _read(image: FaceImage, name: str, max_pixels: int, check: Check) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a whole JPEG or PNG, and its width and height, which are known before anything is decoded."""
    if isinstance(image, np.ndarray):
        return _encoded(image, name, max_pixels)
    content = image if isinstance(image, bytes) else _file_content(image, name, max_pixels)
    if not content.startswith(features.IMAGE_MAGICS):
        raise DataError(f"{name}: expected a JPEG or PNG image. Received: bytes {content[:8].hex(' ') or 'none'}")
    if len(content) > (largest := features.largest_image_file(max_pixels)):
        raise DataError(_too_large(name, largest, max_pixels, len(content)))
    try:
        header = check_header(content, max_pixels, "the model's max_image_pixels")
        check(content, max_pixels)
    except ImageError as error:
        raise DataError(f"{name}: {error}") from error
    return content, (header.width, header.height)


def check_decodes(content: bytes, max_pixels: int) -> None:
    """Decodes an image outside TensorFlow, to the pixels that the graph gets of it.

    Raises:
      ImageError: it can't.
    """
    decode(content, max_pixels)


def check_whole(content: bytes, max_pixels: int) -> None:
    """Sees whether an image has its end, without decoding it.

    Raises:
      ImageError: it hasn't.
    """
    check_end(content)


def _file_content(path: str | os.PathLike[str], name: str, max_pixels: int) -> bytes:
    """The bytes of a regular file that is no larger than an image of so many pixels can be."""
    largest = features.largest_image_file(max_pixels)
    try:
        if (received := kind(os.fspath(path))) != "a file":  # a pipe would be waited for
            raise DataError(f"{name}: expected a file. Received: {received}")
        with open(path, "rb") as f:
            if (size := os.stat(f.fileno()).st_size) > largest:
                raise DataError(_too_large(name, largest, max_pixels, size))
            return f.read()
    except OSError as error:
        raise DataError(f"{name}: expected a file. Received: {error.strerror}") from error


def _too_large(name: str, largest: int, max_pixels: int, size: int) -> str:
    return (
        f"{name}: expected a file of at most {largest:,} bytes, for the model's max_image_pixels of {max_pixels:,}. "
        f"Received: {size:,} bytes"
    )


def _check_pixels(pixels: np.ndarray, name: str) -> None:
    """Checks an array's type and shape.

    Raises:
      DataError: it is no image in RGB, or hides a part of one.
    """
    masked = isinstance(pixels, np.ma.MaskedArray)
    if masked or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != features.CHANNELS:
        received = f"{'masked ' * masked}{pixels.dtype} {list(pixels.shape)}"
        raise DataError(f"{name}: expected uint8 [height, width, 3] in RGB. Received: {received}")


def _encoded(pixels: np.ndarray, name: str, max_pixels: int) -> tuple[bytes, tuple[int, int]]:
    """Pixels as a PNG, which loses nothing: the graph's input is bytes."""
    _check_pixels(pixels, name)
    height, width, _ = pixels.shape
    if not 1 <= height * width <= max_pixels:
        raise DataError(f"{name}: expected 1 to {max_pixels:,} pixels. Received: {width}x{height} pixels")
    return to_png(pixels), (width, height)
