"""The Beam step that turns images into distances: right, in whole, and without the images."""

import pickle
import uuid

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.types import artifact_utils, standard_artifacts

from arcface_common import features
from arcface_common.features import PixelFormat
from arcface_common.model_metadata import ModelMetadata
from evaluator_custom.networks.embedder import PairEmbedder
from evaluator_custom.tfma_bridge.embed_pairs import EmbedPairs
from evaluator_custom.tfma_bridge.one_source import ALL_SPLITS, as_one_split
from serving import export
from tests.closeness import assert_close
from tests.helpers import jpeg
from trainer_module import backbones

pytestmark = pytest.mark.slow
SIZES = (1, 40, 3, 1, 70)  # pairs in each batch of the reader


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("candidate", "baseline"):
        metadata = ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {})
        export.export_saved_model(backbones.build("iresnet_tiny", embedding_dim=16), str(folder / name), metadata)
    return {name: str(folder / name) for name in ("candidate", "baseline")}


def _batches():
    """Extracts as TFMA's readers make them; pairs share images."""
    first = 0
    for size in SIZES:
        index = np.arange(first, first + size)
        first += size
        yield {
            tfma.FEATURES_KEY: {
                features.IMAGE_A: np.array([[jpeg(i % 50)] for i in index], object),
                features.IMAGE_B: np.array([[jpeg(i)] for i in index], object),
                features.PAIR_INDEX: index[:, None],
            },
            tfma.LABELS_KEY: index % 2,
            tfma.INPUT_KEY: np.array([b"serialized " + jpeg(i) for i in index], object),
        }


def _run(models, folder):
    """The step's output, in any order."""

    def keep(extracts):
        (folder / uuid.uuid4().hex).write_bytes(pickle.dumps(extracts))

    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        batches = pipeline | beam.Create(list(_batches()), reshuffle=False)
        _ = batches | beam.ParDo(EmbedPairs(models, sum(SIZES))) | beam.Map(keep)
    return [pickle.loads(path.read_bytes()) for path in folder.iterdir()]


def _index(extracts):
    return extracts[tfma.FEATURES_KEY][features.PAIR_INDEX].ravel().tolist()


def _expected(embedder, index):
    return embedder.predict([image for i in index for image in (jpeg(i % 50), jpeg(i))])


def _assert_close(predictions, expected):
    """Distances, about 1, and lengths, about 30, each relative to their own size."""
    for received, wanted in zip(predictions.T, expected.T, strict=True):
        assert_close(received, wanted)


def test_every_pair_gets_its_distance_and_no_image_goes_on(models, tmp_path):
    done = _run({"": models["candidate"]}, tmp_path)
    assert b"JFIF" in pickle.dumps(list(_batches()))
    assert b"JFIF" not in pickle.dumps(done)
    assert sorted(len(extracts[tfma.LABELS_KEY]) for extracts in done) == sorted(SIZES)
    assert sorted(i for extracts in done for i in _index(extracts)) == list(range(sum(SIZES)))
    embedder = PairEmbedder(models["candidate"])
    for extracts in done:
        assert set(extracts) == {tfma.FEATURES_KEY, tfma.LABELS_KEY, tfma.PREDICTIONS_KEY}
        assert set(extracts[tfma.FEATURES_KEY]) == {features.PAIR_INDEX}
        np.testing.assert_array_equal(extracts[tfma.LABELS_KEY], np.array(_index(extracts)) % 2)
        expected = _expected(embedder, _index(extracts))
        _assert_close(extracts[tfma.PREDICTIONS_KEY], expected)


def test_two_models_answer_by_name(models, tmp_path):
    done = _run(models, tmp_path)
    assert len(done) == len(SIZES)
    for name, path in models.items():
        embedder = PairEmbedder(path)
        for extracts in done:
            expected = _expected(embedder, _index(extracts))
            _assert_close(extracts[tfma.PREDICTIONS_KEY][name], expected)


def test_all_splits_are_read_as_one():
    examples = standard_artifacts.Examples()
    examples.uri = "somewhere"
    examples.split_names = artifact_utils.encode_split_names(["lfw", "cfp_fp"])
    examples.set_int_custom_property("pairs", 7)
    merged = as_one_split(examples)
    assert artifact_utils.get_split_uris([merged], ALL_SPLITS) == ["somewhere/Split-*"]
    assert merged.get_int_custom_property("pairs") == 7
    assert artifact_utils.decode_split_names(examples.split_names) == ["lfw", "cfp_fp"]  # as it was
