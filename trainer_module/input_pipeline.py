"""The training input: TFRecord shards to batches of uint8 pixels, in an order that (seed, epoch, step) determine."""

import tensorflow as tf
import tensorflow_transform as tft

from trainer_module import features
from trainer_module.images import decode_face
from trainer_module.settings import TrainSettings

_PARSE_BATCH = 64  # records parsed and looked up in one call; 64 x 7 KB = 450 KB


def _serialized(files: list[str], settings: TrainSettings) -> tf.data.Dataset:
    """All epochs of encoded records, each in an order of its own: shards first, then a bounded window of records.

    The shards are a global permutation already (RecordExampleGen), so that the window need not be large. Only encoded
    records are ever shuffled: a decoded image takes 37 KB, an encoded one 7 KB.
    """

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        seed = epoch + settings.seed
        shards = tf.data.Dataset.from_tensor_slices(files)
        shards = shards.shuffle(len(files), seed=seed, reshuffle_each_iteration=False)
        records = tf.data.TFRecordDataset(shards)
        return records.shuffle(settings.shuffle_buffer, seed=seed, reshuffle_each_iteration=False)

    return tf.data.Dataset.range(tf.int64.max).flat_map(one_epoch)


def training_batches(
    file_patterns: list[str],
    transform_graph: str,
    settings: TrainSettings,
    context: tf.distribute.InputContext | None = None,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Batches of one replica, without end.

    Global batch k holds records k*B .. (k+1)*B-1 of the order that the seed determines; pipeline i of n takes every
    n-th of them. So the images of a step are the same on one worker or many, and resuming is skipping.

    Args:
      file_patterns: globs of the train split's shards.
      transform_graph: path of Transform's output.
      settings: batch size, seed, flips and window size.
      context: which input pipeline of how many this is; None is the only one.
      first_step: steps that were trained already.

    Returns:
      (uint8 [B, 112, 112, 3] RGB, int64 [B] class index), B = batch size / replicas.

    Raises:
      FileNotFoundError: no shard matches.
    """
    files = sorted(path for pattern in file_patterns for path in tf.io.gfile.glob(pattern))
    if not files:
        raise FileNotFoundError(f"expected TFRecord shards of the train split. Received: patterns={file_patterns!r}")
    transform = tft.TFTransformOutput(transform_graph)
    raw_spec = transform.raw_feature_spec()
    layer = transform.transform_features_layer()

    def parse(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        transformed = layer(tf.io.parse_example(records, raw_spec))
        return (
            tf.reshape(transformed[features.IMAGE], [-1]),
            tf.reshape(transformed[features.CLASS_INDEX], [-1]),
        )

    def load(index: tf.Tensor, example: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        image_bytes, class_index = example
        pixels = decode_face(image_bytes)
        if settings.flip:
            # The index counts in the global order, so that a flip doesn't depend on the number of workers.
            pixels = tf.image.stateless_random_flip_left_right(pixels, seed=tf.stack([settings.seed, index]))
        return pixels, class_index

    pipelines = context.num_input_pipelines if context else 1
    pipeline = context.input_pipeline_id if context else 0
    per_replica = context.get_per_replica_batch_size(settings.batch_size) if context else settings.batch_size

    dataset = _serialized(files, settings).skip(first_step * settings.batch_size).shard(pipelines, pipeline)
    dataset = dataset.batch(_PARSE_BATCH).map(parse, num_parallel_calls=1).unbatch()
    dataset = dataset.enumerate()
    dataset = dataset.map(
        lambda i, example: load(first_step * settings.batch_size + i * pipelines + pipeline, example),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    dataset = dataset.batch(per_replica, drop_remainder=True).prefetch(2)
    options = tf.data.Options()
    options.deterministic = True
    # The sharding above is the whole of it: left to itself, TensorFlow would shard again by file.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)
