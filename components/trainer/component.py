"""Spec of the Trainer."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.utils import json_utils

from arcface_common.features import HOLDOUT_SPLIT, TRAIN_SPLIT
from arcface_common.source_digest import source_digest
from components.trainer.executor import PAIRS_KEY, STEPS_KEY, WORK_KEY, TrainerExecutor


class TrainerSpec(standard_component_specs.TrainerSpec):
    """The Trainer's spec without a model, which the Exporter makes; with pairs, and a folder that outlives a run."""

    PARAMETERS = {
        **standard_component_specs.TrainerSpec.PARAMETERS,
        WORK_KEY: ExecutionParameter(type=str),
        STEPS_KEY: ExecutionParameter(type=int),
    }
    INPUTS = {
        **standard_component_specs.TrainerSpec.INPUTS,
        PAIRS_KEY: ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {standard_component_specs.MODEL_RUN_KEY: ChannelParameter(type=standard_artifacts.ModelRun)}


class Trainer(base_component.BaseComponent):
    """A Trainer that hands on a checkpoint: another signature exports anew, and never trains anew.

    Component `outputs` contains:

     - `model_run`: ModelRun, with `checkpoint/`, `identities.txt`, `model.json`, `tensorboard/`, `curve.csv`, with a
       hold-out split `holdout.json`, and judged while it trains `verified.json`.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TrainerExecutor)

    def __init__(
        self,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        steps: int,
        backbone: str,
        custom_config: dict[str, Any],
        *,
        holdout: bool = False,
        pair_examples: types.BaseChannel | None = None,
        keeps_best: bool = False,
        work: str = "",
    ) -> None:
        """Makes the component.

        Args:
          examples: of RecordExampleGen.
          transform_graph: of Transform, which maps identities to classes.
          steps: optimizer steps; other ones than in `custom_config` keep its shares, see `of_length`.
          backbone: name of the network; the module of an own one belongs to the cache key.
          custom_config: JSON-ready; what `run_fn` reads, and what else belongs to the cache key.
          holdout: there is a hold-out split, which only shows how training goes. A model is judged by identities that
            it never saw.
          pair_examples: of PairExampleGen, where the training is judged by its sets meanwhile; no part of the cache key
            else.
          keeps_best: the pairs decide which checkpoint is kept, so that the code of the protocol counts.
          work: folder in which a training that was stopped finds where it was; empty begins anew.
        """
        # Without one, TFX still wants the name of a split that is there; `run_fn` evaluates nothing on it then.
        evaluated = HOLDOUT_SPLIT if holdout else TRAIN_SPLIT
        code = source_digest(
            *("components.trainer.executor", "trainer_module.workers.worker"),
            *(("trainer_module.training.verification",) if keeps_best else ()),
            backbone=backbone,
        )
        super().__init__(
            TrainerSpec(
                examples=examples,
                transform_graph=transform_graph,
                pair_examples=pair_examples,
                train_args=trainer_pb2.TrainArgs(splits=[TRAIN_SPLIT], num_steps=steps),
                eval_args=trainer_pb2.EvalArgs(splits=[evaluated]),
                custom_config=json_utils.dumps({**custom_config, "code_version": code}),
                work=work,
                steps=steps,
                model_run=types.Channel(type=standard_artifacts.ModelRun),
            )
        )
