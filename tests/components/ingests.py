"""Ingests of small files, by the executors themselves."""

import json
import os

import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

from components.record_example_gen.executor import RecordExampleGenExecutor

# Named, TFX packs no sdist of itself for every job (1.8 s).
BEAM = ("--runner=FnApiRunner", "--sdk_container_image=unused")


LABELS = [i // 5 for i in range(40)]


def run(executor_class, data, out, options, beam_args=BEAM, work=""):
    examples = standard_artifacts.Examples()
    examples.uri = str(out)
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args), tmp_dir=str(out) + "-tmp")
    splits = [{"name": path.name, "pattern": path.name} for path in data.iterdir()]
    properties = {
        "input_base": str(data),
        "input_config": json.dumps({"splits": splits}),
        "options": json.dumps(options),
        "work": work,
    }
    executor_class(context).Do({}, {"examples": [examples]}, properties)
    return examples


def read(examples, split):
    folder = artifact_utils.get_split_uri([examples], split)
    parsed = []
    for path in sorted(tf.io.gfile.glob(os.path.join(folder, "*"))):
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            parsed.append({n: (f.bytes_list.value or f.int64_list.value)[0] for n, f in features.items()})
    return parsed


def ingested(data, out, beam_args=BEAM, work="", **settings):
    return run(RecordExampleGenExecutor, data, out, {"shards": 3, **settings}, beam_args, work)
