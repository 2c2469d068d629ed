"""What the Trainer reads, made without a pipeline: shards of train Examples, and Transform's output for them."""

import functools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from components.formats import tfrecord
from tests.helpers import jpeg

PAIRS = 30
# Pairs: the numbers of their images, and which are the same. Image 7 is in many pairs, and once beside itself.
IMAGES = [(7 if i % 4 == 0 else i, 7 if i == 8 else 50 + i) for i in range(PAIRS)]
SAME = [i % 3 == 0 for i in range(PAIRS)]


def write_shards(folder: Path, examples: list[tuple[bytes, int]], shards: int) -> None:
    """Shards of train Examples from (image bytes, label)."""
    folder.mkdir(parents=True)
    for shard, part in enumerate(np.array_split(np.arange(len(examples)), shards)):
        path = folder / f"data-{shard:05d}-of-{shards:05d}.tfrecord"
        with tfrecord.tfrecord_aside(str(path), str(folder.parent / "aside")) as writer:
            for i in part:
                image, label = examples[i]
                writer.write(tfrecord.example_parts({"image": image, "label": label, "key": int(i) + 1}))


def write_pairs(folder, shards=2):
    """Shards of pair Examples, the last pair first; returns a glob of them."""
    folder.mkdir(parents=True)
    for shard, part in enumerate(np.array_split(np.arange(PAIRS)[::-1], shards)):
        path = folder / f"data-{shard:05d}-of-{shards:05d}.tfrecord"
        with tfrecord.tfrecord_aside(str(path), str(folder.parent / "aside")) as writer:
            for i in part:
                image_a, image_b = (jpeg(number) for number in IMAGES[i])
                values = {"image_a": image_a, "image_b": image_b, "is_same": int(SAME[i]), "pair_index": int(i)}
                writer.write(tfrecord.example_parts(values))
    return str(folder / "*")


def write_transform_graph(folder: Path, labels: list[int]) -> str:
    """Runs the preprocessing function's analysis on those labels, once in a process; returns the graph's path."""
    graph = str(folder / "graph")
    shutil.copytree(_transform_graph(tuple(labels)), graph)
    return graph


@functools.cache
def _transform_graph(labels: tuple[int, ...]) -> str:
    """Of record batches, as TFX's Transform has them.

    From dicts TensorFlow Transform would keep a protobuf container alive beyond the interpreter's end: exit code 139.
    """
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils
    from tfx_bsl.tfxio import tf_example_record

    from trainer_module.preprocessing import preprocessing_fn

    kinds = {"image": tf.string, "label": tf.int64, "key": tf.int64}
    schema = schema_utils.schema_from_feature_spec({name: tf.io.FixedLenFeature([1], kinds[name]) for name in kinds})
    metadata = dataset_metadata.DatasetMetadata(schema)
    source = tf_example_record.TFExampleBeamRecord("inmem", telemetry_descriptors=["tests"], schema=schema)
    examples = [
        b"".join(tfrecord.example_parts({"image": b"", "label": label, "key": i + 1})) for i, label in enumerate(labels)
    ]
    folder = tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))  # which a test may exchange for another meanwhile
    graph = f"{folder}/graph"
    with beam.Pipeline(runner="FnApiRunner") as pipeline, tft_beam.Context(temp_dir=f"{folder}/tmp"):
        batches = pipeline | beam.Create(examples) | source.BeamSource()
        transform_fn = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(preprocessing_fn)
        _ = transform_fn | tft_beam.WriteTransformFn(graph)
        _ = metadata | tft_beam.WriteMetadata(f"{graph}/metadata", pipeline=pipeline)  # as TFX's Transform does
    return graph
