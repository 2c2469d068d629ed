"""TFMA extractors that turn pair Examples into distances; the image bytes end here, before anything is shuffled."""

import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from apache_beam.transforms import window
from apache_beam.utils import shared
from tensorflow_model_analysis.extractors import extractor
from tensorflow_model_analysis.proto import config_pb2

from arcface_common import features, filesystem
from arcface_common.artifacts import SAVED_MODEL_FILE
from arcface_common.console import progress
from evaluator_custom.networks import embedder
from evaluator_custom.networks.embedder import PairEmbedder
from evaluator_custom.networks.embedding_queue import EmbeddingQueue


class EmbedPairs(beam.DoFn):
    """Puts distances in TFMA's predictions, and drops the image bytes.

    The reader's batches follow how long the steps after it took, and are a few pairs for a slow network, so the
    network's own batches are filled across them: extracts may come out some elements later, in order, and all of a
    bundle's before the bundle ends. Each instance (one for every thread of a worker) remembers embeddings of its own.
    """

    def __init__(self, model_paths: dict[str, str], pairs: int | None) -> None:
        """Keeps where the models are.

        Args:
          model_paths: model name -> SavedModel.
          pairs: how many there will be, for the progress bar; None if unknown.
        """
        self._model_paths = model_paths
        self._pairs = pairs
        self._shared = {name: shared.Shared() for name in model_paths}

    def setup(self) -> None:
        """Loads each model once a worker process."""
        embedders = {
            name: self._shared[name].acquire(lambda path=path: PairEmbedder(path))
            for name, path in self._model_paths.items()
        }
        # Empty at the end of every bundle; Beam uses no instance again whose bundle failed.
        self._queue: EmbeddingQueue[dict[str, Any]] = EmbeddingQueue(embedders)
        self._bar = progress(total=self._pairs, description="embedding", unit="pair")

    def teardown(self) -> None:
        """Ends the progress bar."""
        self._bar.close()

    def process(self, extracts: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Takes a batch of extracts; yields those that are done, with distances instead of images."""
        extracts = dict(extracts)
        inputs = dict(extracts[tfma.FEATURES_KEY])
        first, second = np.ravel(inputs.pop(features.IMAGE_A)), np.ravel(inputs.pop(features.IMAGE_B))
        extracts[tfma.FEATURES_KEY] = inputs
        extracts.pop(tfma.INPUT_KEY, None)
        extracts.pop(tfma.ARROW_RECORD_BATCH_KEY, None)
        images = np.stack([first, second], axis=1).ravel().tolist()
        yield from map(self._predicted, self._queue.add(extracts, images))

    def finish_bundle(self) -> Iterator[Any]:
        """Yields what still waits for a full batch."""
        for done in self._queue.flush():
            yield window.GlobalWindows.windowed_value_at_end_of_window(self._predicted(done))

    def _predicted(self, done: tuple[dict[str, Any], dict[str, np.ndarray]]) -> dict[str, Any]:
        extracts, predictions = done
        first = next(iter(predictions.values()))
        self._bar.update(len(first))
        return {**extracts, tfma.PREDICTIONS_KEY: predictions if len(predictions) > 1 else first}


@beam.ptransform_fn
def _embed(extracts: beam.PCollection, model_paths: dict[str, str], pairs: int | None) -> beam.PCollection:
    return extracts | beam.ParDo(EmbedPairs(model_paths, pairs))


def custom_eval_shared_model(
    eval_saved_model_path: str, model_name: str, eval_config: config_pb2.EvalConfig, **unused: Any
) -> tfma.types.EvalSharedModel:
    """The Evaluator's hook: where a model is. Loading is left to `EmbedPairs`, which needs another signature."""
    if not filesystem.exists(os.path.join(eval_saved_model_path, SAVED_MODEL_FILE)):
        # A version that is served: the folder above is the SavedModel.
        eval_saved_model_path = os.path.dirname(eval_saved_model_path)
    return tfma.default_eval_shared_model(
        eval_saved_model_path=eval_saved_model_path, model_name=model_name, eval_config=eval_config
    )


def custom_extractors(
    eval_shared_model: Any, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any
) -> list[extractor.Extractor]:
    """The Evaluator's hook: from record batches to sliced (distance, is_same, pair_index)."""
    models = eval_shared_model if isinstance(eval_shared_model, list) else [eval_shared_model]
    paths = {model.model_name: model.model_path for model in models}
    return [
        tfma.extractors.FeaturesExtractor(
            eval_config=eval_config, tensor_representations=tensor_adapter_config.tensor_representations
        ),
        tfma.extractors.LabelsExtractor(eval_config=eval_config),
        extractor.Extractor(stage_name="EmbedPairs", ptransform=_embed(paths, embedder.expected_pairs)),
        tfma.extractors.UnbatchExtractor(),
        tfma.extractors.SliceKeyExtractor(eval_config=eval_config),
    ]
