"""Reads back what TFMA's evaluation holds of each pair."""

from collections.abc import Mapping

import numpy as np
import tensorflow_model_analysis as tfma

from arcface_common import features
from arcface_common.protocol.conditions import Cut
from arcface_common.protocol.scored_pairs import ScoredPairs
from evaluator_custom.tfma_bridge.metrics import SCORED_PAIRS
from evaluator_custom.tfma_bridge.pair_examples import PairExamples


def read_evaluation(
    evaluation: str, model_name: str, sets: Mapping[str, PairExamples], folds: Cut
) -> dict[str, ScoredPairs]:
    """Reads what a model makes of each set by `tfma.load_eval_result`.

    Args:
      evaluation: folder of TFMA's results.
      model_name: TFMA's name of the model; "" if there is one alone.
      sets: what else is known of the pairs, by set, in the order of the result.
      folds: how they were cut.

    Returns:
      Set -> scored pairs; a set without data is left out.
    """
    result = tfma.load_eval_result(evaluation, model_name=model_name or None)
    arrays = {
        dict(slice_key)[features.SET]: metrics[""][""][SCORED_PAIRS]["arrayValue"]
        for slice_key, metrics in result.slicing_metrics
        if len(slice_key) == 1
    }
    found = {}
    for name, pairs in sets.items():
        if name in arrays:
            # JSON has NaN as text, which numpy reads.
            array = np.array(arrays[name]["float64Values"], np.float64).reshape([int(n) for n in arrays[name]["shape"]])
            more = {"attributes": pairs.attributes, "images": pairs.images, "files": pairs.files}
            found[name] = ScoredPairs.from_array(array, name=name, folds=folds, **more)
    return found
