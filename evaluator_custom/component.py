"""Spec of the VerificationEvaluator."""

import json
from collections.abc import Sequence

from tfx import types
from tfx.components.evaluator import component
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.dsl.placeholder import placeholder
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from arcface_common.protocol.conditions import Condition, Cut
from arcface_common.source_digest import source_digest
from evaluator_custom.executor import (
    BASELINE_KEY,
    CONDITIONS_KEY,
    FOLDS_KEY,
    START_DIGEST_KEY,
    START_KEY,
    TRAINING_EXAMPLES_KEY,
    VerificationEvaluatorExecutor,
)

_MODULE = "evaluator_custom.tfma_bridge.embed_pairs"  # TFMA imports it by this name


class VerificationEvaluatorSpec(standard_component_specs.EvaluatorSpec):
    """The Evaluator's spec, the baseline's record, the conditions in words, the training set, a digest of our source.

    TFX hashes a node's properties, not its code.
    """

    PARAMETERS = {
        **standard_component_specs.EvaluatorSpec.PARAMETERS,
        BASELINE_KEY: ExecutionParameter(type=str),
        CONDITIONS_KEY: ExecutionParameter(type=str),
        FOLDS_KEY: ExecutionParameter(type=str),
        START_KEY: ExecutionParameter(type=str),
        START_DIGEST_KEY: ExecutionParameter(type=str),
        "code_version": ExecutionParameter(type=str),
    }
    INPUTS = {
        **standard_component_specs.EvaluatorSpec.INPUTS,
        TRAINING_EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }


class VerificationEvaluator(component.Evaluator):
    """TFX's Evaluator over verification pairs: blessing and Kubeflow's handling are TFX's own.

    Component `outputs` contains:

     - `evaluation`: ModelEvaluation, which `tfma.load_eval_result` reads; beside it `verification.json` and
       `report.html`.
     - `blessing`: ModelBlessing, with the same `verification.json`, from where the Pusher takes it along, and
       `best_so_far.json`, which the Pusher puts in the record that the next evaluation reads.
    """

    SPEC_CLASS = VerificationEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(VerificationEvaluatorExecutor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        schema: types.BaseChannel,
        sets: Sequence[str],
        conditions: Sequence[Condition],
        *,
        folds: Cut = "contiguous",
        baseline: str | placeholder.Placeholder = "",
        training_examples: types.BaseChannel | None = None,
        start: str = "",
        start_digest: str = "",
    ) -> None:
        """Makes the component.

        Args:
          examples: of PairExampleGen.
          model: the candidate.
          schema: of the pair Examples.
          sets: the verification sets, which are splits of `examples`.
          conditions: what the candidate must fulfil to be blessed, at least one.
          folds: how they are cut, see `insightface.evaluate`.
          baseline: path of the latest blessed model's record, which keeps what the best model so far made of the pairs;
            "" for none.
          training_examples: of RecordExampleGen, to say which images and people the sets share with it.
          start: folder of the network that the model began from; empty where there is none, or where a local run hands
            over `train.init_from`.
          start_digest: of its checkpoint; empty where there is none, or `start` is given.
        """
        spec = VerificationEvaluatorSpec(
            examples=examples,
            model=model,
            baseline=baseline,
            training_examples=training_examples,
            fairness_indicator_thresholds="null",
            example_splits=json.dumps(list(sets)),
            schema=schema,
            module_path=_MODULE,
            conditions=", ".join(map(str, conditions)),
            folds=folds,
            start=start,
            start_digest=start_digest,
            code_version=source_digest(__name__, _MODULE),
            evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
            blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        )
        # Evaluator's own initializer would build the stock spec, which has no room for our parameters.
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)
