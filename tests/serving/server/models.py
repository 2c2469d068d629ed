"""Small SavedModels that answer what a test can compute, and broken ones."""

import shutil
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from arcface_common.artifacts import EXTRA, WARMUP_FILE

_X = tf.TensorSpec([None, 2], tf.float32, name="x")


class Times(tf.Module):
    """`y` = `x` times a factor; a negative `x` is an error, by which the whole batch fails."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=[_X])
    def rows(self, x):
        tf.debugging.assert_non_negative(x, "expected no negative number")
        return {"y": x * self.factor, "size": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="turns")])
    def slow(self, turns):
        state = tf.ones([200, 200])
        for _ in tf.range(tf.reduce_max(turns)):
            state = tf.linalg.l2_normalize(state @ state)
        return {"y": tf.cast(turns, tf.float32) + tf.reduce_sum(state)}

    @tf.function(input_signature=[tf.TensorSpec([2], tf.int64, name="x")])
    def whole(self, x):
        return {"sum": tf.reduce_sum(x)}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="a_bytes"), tf.TensorSpec([None], tf.string, name="b")]
    )
    def texts(self, a_bytes, b):
        return {"joined_bytes": a_bytes + b, "joined": a_bytes + b, "empty": tf.strings.length(a_bytes + b) == 0}


def write_times(folder: Path, factor: float, version: int = 1) -> Path:
    """Writes a version of `Times`; the version's folder."""
    model = Times(factor)
    signatures = {
        "serving_default": model.rows.get_concrete_function(),
        "slow": model.slow.get_concrete_function(),
        "whole": model.whole.get_concrete_function(),
        "texts": model.texts.get_concrete_function(),
    }
    aside = folder / f".aside-{version}"
    tf.saved_model.save(model, str(aside), signatures=signatures)
    aside.rename(folder / str(version))
    return folder / str(version)


def warm_up_for_ever(version: Path) -> None:
    """Has a version of `Times` bring a request for its warm-up that takes years to answer."""
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "slow"
    request.inputs["turns"].CopyFrom(tf.make_tensor_proto([1 << 40], tf.int64))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    (version / EXTRA).mkdir()
    with tf.io.TFRecordWriter(str(version / EXTRA / WARMUP_FILE)) as writer:
        writer.write(log.SerializeToString())


def copy(version: Path, number: int) -> Path:
    """The same model as another version, there at once."""
    aside = version.parent / f".aside-{number}"
    shutil.copytree(version, aside)
    aside.rename(version.parent / str(number))
    return version.parent / str(number)
