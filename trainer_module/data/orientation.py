"""How an encoded image is to be turned: the EXIF orientation of a JPEG or PNG, found in the graph as OpenCV finds it.

The eight values are those of CIPA DC-008 (EXIF), tag 0x0112 of the first image file directory (IFD).
"""

from collections.abc import Callable

import tensorflow as tf

import trainer_module.autograph  # noqa: F401  (for its effect)
from arcface_common.features import PNG_MAGIC

_TAG = 0x0112
_ENTRY = 12  # bytes: tag, type, count, value
_FIRST_SEGMENT = 2  # where it begins in a JPEG
_APP1, _SCAN, _FILL = 0xE1, 0xDA, 0xFF
_TEMPORARY, _RESTART = 0x01, 0xD0  # the first of eight
# A JPEG's colour profile takes up to 255 segments, a PNG's pixels a chunk every 8 KB: 4,096 of these are 32 MB.
_MOST_SEGMENTS = 4096


def orientations(image_bytes: tf.Tensor) -> tf.Tensor:
    """EXIF orientations, from a JPEG's APP1 segments before its first scan, or a PNG's eXIf chunks.

    Most faces have been cut out of their photographs and carry no EXIF. To see that takes 3 us for 7 KB; only a batch
    that may hold some is walked through, 1 ms an image.

    Args:
      image_bytes: string [N], JPEG or PNG.

    Returns:
      int64 [N], 1..8, or another number that means nothing; -1 where the file says nothing.
    """
    may_say = tf.strings.regex_full_match(image_bytes, r"(?s)\C*(?:Exif|eXIf)\C*")  # \C is any byte
    return tf.cond(
        tf.reduce_any(may_say),
        lambda: _walk_all(image_bytes),
        lambda: tf.fill(tf.shape(image_bytes), tf.constant(-1, tf.int64)),
    )


def turned(image: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """An image as its photographer held it.

    Args:
      image: [H, W, C] of any type, as stored.
      value: int64 scalar, the EXIF orientation; all but 2 to 8 leave the image.

    Returns:
      The same type, [H, W, C] or, where the value is 5 to 8, [W, H, C].
    """

    def is_one_of(*values: int) -> tf.Tensor:
        return tf.reduce_any(tf.equal(value, values))

    image = tf.transpose(image, tf.where(is_one_of(5, 6, 7, 8), [1, 0, 2], [0, 1, 2]))
    upside_down, right_to_left = is_one_of(3, 4, 7, 8), is_one_of(2, 3, 6, 7)
    return tf.reverse(image, tf.reshape(tf.where([upside_down, right_to_left]), [-1]))


# A function of its own at run time, too: inlined, its 200 nodes cost a batch that needs none of them 150 us.
@tf.function(
    input_signature=[tf.TensorSpec([None], tf.string)], experimental_attributes={"_noinline": True}, autograph=False
)
def _walk_all(image_bytes: tf.Tensor) -> tf.Tensor:
    return tf.map_fn(_orientation, image_bytes, fn_output_signature=tf.int64)


def _orientation(image_bytes: tf.Tensor) -> tf.Tensor:
    return tf.cond(
        tf.equal(_part(image_bytes, 0, len(PNG_MAGIC)), PNG_MAGIC),
        lambda: _walk(image_bytes, len(PNG_MAGIC), _png_chunk),
        lambda: _walk(image_bytes, _FIRST_SEGMENT, _jpeg_segment),
    )


# From the bytes and a place: where the next segment begins, and where EXIF begins and ends in this one (0, 0: nowhere).
_Segment = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def _walk(image_bytes: tf.Tensor, first: int, segment: _Segment) -> tf.Tensor:
    """The first orientation in a chain of segments, -1 if there is none. Raises nothing, whatever the bytes are.

    Each step moves on, and the chain ends with the bytes: so a file can't hold it up.
    """
    size = _size(image_bytes)
    nothing = tf.constant(-1, tf.int64)

    def step(place: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        del value  # nothing yet, or the loop would have ended
        following, begin, end = segment(image_bytes, place)
        found = tf.cond(
            end > begin,
            lambda: _orientation_in(_part(image_bytes, begin, end - begin)),
            lambda: nothing,
        )
        return tf.minimum(following, size), found

    _, value = tf.while_loop(
        lambda place, value: tf.logical_and(place < size, value < 0),
        step,
        (tf.constant(first, tf.int64), nothing),
        maximum_iterations=_MOST_SEGMENTS,
        parallel_iterations=1,
    )
    return value


def _jpeg_segment(image_bytes: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A marker, its length and what follows (ITU T.81, B.1.1.4). After the first scan nothing is looked at.

    Restarts (0xD0 .. 0xD7) and TEM (1) have no length; libjpeg passes over them.
    """
    prefix, marker, high, low = tf.unstack(_digits(image_bytes, place, 4))
    is_bare = tf.logical_or(tf.equal(marker, _TEMPORARY), tf.equal(marker // 8, _RESTART // 8))
    following = place + 2 + tf.where(is_bare, tf.zeros_like(high), tf.maximum(256 * high + low, 2))
    ends = tf.logical_or(tf.not_equal(prefix, 0xFF), tf.equal(marker, _SCAN))
    is_exif = tf.logical_and(tf.equal(marker, _APP1), tf.equal(_part(image_bytes, place + 4, 6), b"Exif\0\0"))
    begin = tf.where(is_exif, place + 10, following)
    following = tf.where(tf.equal(marker, _FILL), place + 1, following)
    return tf.where(ends, tf.int64.max, following), begin, following


def _png_chunk(image_bytes: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Length, type, data and a checksum of 4 bytes (ISO/IEC 15948, 5.3)."""
    length = _number(_digits(image_bytes, place, 4))
    end = place + 8 + length
    is_exif = tf.equal(_part(image_bytes, place + 4, 4), b"eXIf")
    return end + 4, tf.where(is_exif, place + 8, end), end


def _orientation_in(tiff: tf.Tensor) -> tf.Tensor:
    """The first value of the tag in EXIF's TIFF block, a string scalar: int64 scalar, -1 where it isn't there."""
    is_little = tf.equal(_part(tiff, 0, 4), b"II*\0")
    is_tiff = tf.logical_or(is_little, tf.equal(_part(tiff, 0, 4), b"MM\0*"))

    def number(digits: tf.Tensor) -> tf.Tensor:
        return tf.where(is_little, _number(tf.reverse(digits, [-1])), _number(digits))

    directory = number(_digits(tiff, 4, 4))
    entries = number(_digits(tiff, directory, 2))
    table = tf.reshape(_digits(tiff, directory + 2, _ENTRY * tf.maximum(entries, 1)), (-1, _ENTRY))
    values = tf.boolean_mask(number(table[:, 8:10]), tf.equal(number(table[:, :2]), _TAG))
    return tf.where(is_tiff, tf.concat([values, [-1]], axis=0)[0], -1)


def _size(content: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(content), tf.int64)


def _part(content: tf.Tensor, place: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """`count` bytes from a place, or as many as there are: scalar string."""
    begin = tf.minimum(tf.cast(place, tf.int64), _size(content))
    return tf.strings.substr(content, begin, tf.cast(count, tf.int64))


def _digits(content: tf.Tensor, place: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """`count` bytes from a place as int64 [count], zeros where there are no more."""
    part = tf.io.decode_raw(_part(content, place, count), tf.uint8, fixed_length=tf.cast(count, tf.int32))
    return tf.cast(tf.ensure_shape(part, [count if isinstance(count, int) else None]), tf.int64)


def _number(digits: tf.Tensor) -> tf.Tensor:
    """Big-endian bytes [..., 2] or [..., 4] as int64 [...]."""
    return tf.reduce_sum(digits * [256**i for i in reversed(range(digits.shape[-1]))], axis=-1)
