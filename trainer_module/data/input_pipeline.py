"""The training input: TFRecord shards to batches of uint8 pixels, in an order that (seed, epoch, step) determine.

All work is done on whole batches: a function call of tf.data costs 10 us, a fifth of the decoding of an image.
"""

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf
import tensorflow_transform as tft

from arcface_common import features
from arcface_common.errors import DataError, in_short, setting_argument
from arcface_common.features import CHANNELS, IMAGE_SIZE
from trainer_module.augmentation_facts import AUGMENTATIONS
from trainer_module.data import order
from trainer_module.data.augmentation import NUMBERS, augment
from trainer_module.data.images import decode_stored, fit, over_batch
from trainer_module.data.split import Split
from trainer_module.settings import TrainSettings


def _serialized(split: Split, settings: TrainSettings, first_record: int) -> tf.data.Dataset:
    """All epochs of encoded records in their order, from a record on.

    Only encoded records are ever held for shuffling: a decoded image takes 37 KB, an encoded one 7 KB.
    """
    files = split.shards()
    # Where nothing is behind, nobody need know how many records there are.
    place = order.place_of(first_record, split.record_counts(), settings.seed) if first_record else order.Place(0, 0, 0)
    paths = tf.constant(files)

    def one_shard(epoch: tf.Tensor, shard: tf.Tensor) -> tf.data.Dataset:
        def shuffled(window: tf.Tensor, records: tf.Tensor) -> tf.Tensor:
            taken = order.window_order(tf.size(records, tf.int64), settings.seed, epoch, shard, window)
            return tf.gather(records, taken)

        windows = tf.data.TFRecordDataset(paths[shard]).batch(settings.shuffle_buffer).enumerate()
        return windows.map(shuffled)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        shards = order.shard_order(len(files), settings.seed, epoch)
        shards = shards[tf.where(epoch == place.epoch, place.shards, 0) :]
        return tf.data.Dataset.from_tensor_slices(shards).flat_map(lambda shard: one_shard(epoch, shard))

    windows = tf.data.Dataset.range(place.epoch, tf.int64.max).flat_map(one_epoch)
    return windows.prefetch(1).unbatch().skip(place.records)


def _parser(transform_graph: str) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A function from records, string [N], to (image bytes [N], int64 [N] class index, -1 where it is unknown).

    Transform hands images on untouched, so that labels alone go through its graph.
    """
    transform = tft.TFTransformOutput(transform_graph)
    raw_spec = transform.raw_feature_spec()
    spec = {name: raw_spec[name] for name in (features.IMAGE, features.LABEL)}
    layer = transform.transform_features_layer()

    def parse(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = tf.io.parse_example(records, spec)
        class_index = layer({features.LABEL: example[features.LABEL]})[features.CLASS_INDEX]
        return tf.reshape(example[features.IMAGE], [-1]), tf.reshape(class_index, [-1])

    return parse


@contextlib.contextmanager
def images_that_decode() -> Iterator[None]:
    """For what draws batches: an image whose data are damaged is named as such.

    Raises:
      DataError: an image doesn't decode. Which one isn't known here: ingest finds it, where it decodes images, too.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if "DecodeJpeg" not in str(error):  # the one op that decodes, as its node is called
            raise
        raise DataError(
            f"training records: expected images that decode; {setting_argument('ingest.decode=true')} finds those that "
            f"don't. Received: {in_short(error)}"
        ) from error


def decode_batch(image_bytes: tf.Tensor, size: int, any_size: bool = False) -> tf.Tensor:
    """Decodes a batch whose size is known when the graph is built: `decode_faces`, 12 us an image faster.

    There is one op an image, and none between them: a map over images costs a function call each, and to look at each
    one's size 2 us. RecordExampleGen has looked at them.

    Args:
      image_bytes: string [N], JPEG or PNG.
      size: N.
      any_size: some may have other sizes than 112x112, and are resized.

    Returns:
      uint8 [N, 112, 112, 3], RGB, 0..255.

    Raises:
      tf.errors.InvalidArgumentError: an image has another size, and `any_size` is false (when the op runs).
    """
    if any_size:
        return over_batch(lambda one: fit(decode_stored(one), IMAGE_SIZE), image_bytes, IMAGE_SIZE)
    pixels = tf.stack([decode_stored(one) for one in tf.unstack(image_bytes, size)])
    return tf.ensure_shape(pixels, (size, IMAGE_SIZE, IMAGE_SIZE, CHANNELS))


def mirror(pixels: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """Mirrors some images of a batch.

    The shapes are those that TensorFlow has fast kernels for: 16 us an image on a CPU, 100 us otherwise.

    Args:
      pixels: [N, 112, 112, 3] of any type.
      mirrored: bool [N], which ones.

    Returns:
      The same shape and type.
    """
    columns_reversed = tf.reverse(tf.reshape(pixels, (-1, IMAGE_SIZE, CHANNELS)), axis=[1])
    flat = (-1, IMAGE_SIZE * IMAGE_SIZE * CHANNELS)
    chosen = tf.where(mirrored[:, tf.newaxis], tf.reshape(columns_reversed, flat), tf.reshape(pixels, flat))
    return tf.reshape(chosen, (-1, IMAGE_SIZE, IMAGE_SIZE, CHANNELS))


def training_batches(
    split: Split,
    settings: TrainSettings,
    context: tf.distribute.InputContext | None = None,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Batches of one replica, without end.

    Global batch k holds records k*B .. (k+1)*B-1 of the order that the seed determines (see `order`); pipeline i of n
    takes every n-th of them. So the images of a step are the same on one worker or many, and after a resumption.

    Args:
      split: what is trained on.
      settings: batch size, seed, flips, augmentation and window size.
      context: which input pipeline of how many this is; None is the only one.
      first_step: steps that were trained already.

    Returns:
      (uint8 [B, 112, 112, 3] RGB, int64 [B] class index, bool [B] to be mirrored), B = batch size / replicas. The step
      mirrors, since an accelerator does it at no cost; see `mirror`.

    Raises:
      FileNotFoundError: no shard matches.
    """
    parse = _parser(split.transform_graph)
    pipelines, pipeline, per_replica = _share(settings, context)
    replicas = settings.batch_size // (per_replica * pipelines)  # of this pipeline

    def drawn(index: tf.Tensor, number: int, *shape: int) -> tf.Tensor:
        """Draws for the whole global batch and takes this replica's, so that they don't depend on the workers.

        Numbers of [0, 1), float32 [per_replica, *shape]; others for another `number`.
        """
        step, replica = first_step + index // replicas, index % replicas
        seed = tf.stack([settings.seed, step])
        seed = tf.random.experimental.stateless_fold_in(seed, number) if number else seed
        draws = tf.random.stateless_uniform([settings.batch_size, *shape], seed)
        places = replica * per_replica + tf.range(per_replica, dtype=tf.int64)
        return tf.gather(draws, places * pipelines + pipeline)

    def load(index: tf.Tensor, records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image_bytes, class_index = parse(records)
        pixels = decode_batch(image_bytes, per_replica, split.any_size)
        if settings.augment:
            pixels = augment(pixels, drawn(index, 1, len(AUGMENTATIONS), NUMBERS), settings.augment)
        mirrored = drawn(index, 0) < 0.5 if settings.flip else tf.zeros([per_replica], tf.bool)
        return pixels, class_index, mirrored

    records = _serialized(split, settings, first_step * settings.batch_size).shard(pipelines, pipeline)
    batches = records.batch(per_replica, drop_remainder=True).enumerate()
    batches = batches.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)
    return batches.with_options(_options())


def record_keys(split: Split, settings: TrainSettings, step: int) -> list[int]:
    """Keys, as train.rec has them, of the records in the global batch of a step, of which the first is 1."""
    records = _serialized(split, settings, (step - 1) * settings.batch_size).batch(settings.batch_size)
    spec = {features.KEY: tf.io.FixedLenFeature([1], tf.int64)}
    keys = tf.io.parse_example(next(iter(records)), spec)[features.KEY]
    return [int(key) for key in tf.reshape(keys, [-1])]


def holdout_batches(
    split: Split, settings: TrainSettings, context: tf.distribute.InputContext | None = None
) -> tf.data.Dataset:
    """Batches of one replica over the hold-out split in file order, again and again.

    The last global batch is filled up, so that every replica gets equally many batches: ceil(images / batch size).

    Args:
      split: the hold-out split.
      settings: batch size.
      context: which input pipeline of how many this is; None is the only one.

    Returns:
      (uint8 [B, 112, 112, 3] RGB, int64 [B] class index), B = batch size / replicas. The class is -1 where an image
      fills up, or where its identity is not in the training data.

    Raises:
      FileNotFoundError: no shard matches.
    """
    parse = _parser(split.transform_graph)
    pipelines, pipeline, per_replica = _share(settings, context)

    def parse_full(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A global batch; what is missing at the end of the split is its last image once more."""
        image_bytes, class_index = parse(records)
        images, places = tf.size(image_bytes), tf.range(settings.batch_size)
        taken = tf.minimum(places, images - 1)
        unknown = tf.constant(-1, tf.int64)
        return tf.gather(image_bytes, taken), tf.where(places < images, tf.gather(class_index, taken), unknown)

    examples = tf.data.TFRecordDataset(split.shards()).batch(settings.batch_size).map(parse_full).unbatch()
    batches = examples.shard(pipelines, pipeline).batch(per_replica, drop_remainder=True).repeat()
    batches = batches.map(
        lambda image_bytes, class_index: (decode_batch(image_bytes, per_replica, split.any_size), class_index),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return batches.prefetch(2).with_options(_options())


def _share(settings: TrainSettings, context: tf.distribute.InputContext | None) -> tuple[int, int, int]:
    """Number of input pipelines, which one this is, and images in a replica's batch."""
    if context is None:
        return 1, 0, settings.batch_size
    per_replica = context.get_per_replica_batch_size(settings.batch_size)
    return context.num_input_pipelines, context.input_pipeline_id, per_replica


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # The sharding by record is the whole of it: left to itself, TensorFlow would shard again by file.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
