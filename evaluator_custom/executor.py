"""Work of the VerificationEvaluator: TFX's Evaluator, then what people and the served model read."""

import contextlib
import dataclasses
import datetime
import json
import os
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_model_analysis import constants as tfma_constants
from tfx import types
from tfx.components.evaluator import constants, executor
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.utils import io_utils, path_constants, path_utils, proto_utils

from arcface_common.artifacts import BEST_FILE, EXTRA, VERIFICATION_FILE
from arcface_common.aside import private_folder
from arcface_common.console import say
from arcface_common.errors import DataError
from arcface_common.model_metadata import ModelMetadata
from arcface_common.protocol.best_so_far import Record, better, dumps, loads, pairs_digest
from arcface_common.protocol.combinations import overused_in
from arcface_common.protocol.conditions import Cut, asked_conditions
from arcface_common.protocol.leaks import find_leak
from arcface_common.protocol.scored_pairs import ScoredPairs
from arcface_common.protocol.verdict_warnings import verdict_warnings
from arcface_common.replaced import replaced
from components.latest_blessed.records import BlessedModel
from evaluator_custom.networks import embedder
from evaluator_custom.past import NO_PAST, Past, read_past
from evaluator_custom.report.page import write_report
from evaluator_custom.tfma_bridge.metrics import make_eval_config
from evaluator_custom.tfma_bridge.one_source import ALL_SPLITS, as_one_split
from evaluator_custom.tfma_bridge.pair_examples import PairExamples, read_pair_examples, read_training_content
from evaluator_custom.tfma_bridge.results import read_evaluation
from evaluator_custom.verdict import make_verdict
from trainer_module.settings import handed_over
from trainer_module.training.curve import CURVE_FILE, MAX_CURVE_BYTES, Point, read_curve

TRAINING_EXAMPLES_KEY = "training_examples"
BASELINE_KEY = "baseline"
CONDITIONS_KEY = "conditions"
FOLDS_KEY = "folds"
START_KEY = "start"
START_DIGEST_KEY = "start_digest"
REPORT_FILE = "report.html"

_Artifacts = dict[str, list[types.Artifact]]


class VerificationEvaluatorExecutor(executor.Executor):
    """Evaluates, validates and blesses as TFX does; writes `verification.json` and a report beside its results.

    `input_dict` holds what the Evaluator's does, and may hold `training_examples` (RecordExampleGen's).
    `exec_properties` has `baseline` (path of the latest blessed model's record, "" for none), `conditions` (see
    `asked_conditions`), `folds`, `start` and `start_digest` (see the component), and `code_version` beside the
    Evaluator's.
    """

    def Do(  # noqa: N802 - TFX's name
        self, input_dict: _Artifacts, output_dict: _Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Runs the Beam job.

        Raises:
          DataError: a condition that cannot be read.
        """
        splits = json.loads(exec_properties[standard_component_specs.EXAMPLE_SPLITS_KEY])
        conditions = asked_conditions(exec_properties[CONDITIONS_KEY])
        told = {
            standard_component_specs.EXAMPLE_SPLITS_KEY: json.dumps([ALL_SPLITS]),
            standard_component_specs.EVAL_CONFIG_KEY: proto_utils.proto_to_json(
                make_eval_config(conditions, exec_properties[FOLDS_KEY])
            ),
        }
        examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
        embedder.expected_pairs = examples.get_int_custom_property("pairs") or None
        blessed = BlessedModel.read(exec_properties[BASELINE_KEY]) if exec_properties[BASELINE_KEY] else None
        if blessed:
            input_dict = {**input_dict, standard_component_specs.BASELINE_MODEL_KEY: [_model(blessed)]}
        # It would look for an Estimator's folder, and TensorFlow knows no s3://, where a baseline may lie.
        with replaced(path_utils, "serving_model_path", path_utils.serving_model_dir):
            super().Do(
                {**input_dict, standard_component_specs.EXAMPLES_KEY: [as_one_split(examples)]},
                output_dict,
                {**exec_properties, **told},
            )

        sets = {name: read_pair_examples(artifact_utils.get_split_uri([examples], name), name) for name in splits}
        evaluation = artifact_utils.get_single_instance(output_dict[standard_component_specs.EVALUATION_KEY])
        blessing = artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY])
        candidate, baseline = _read_both(evaluation.uri, sets, input_dict, exec_properties[FOLDS_KEY])
        digests = {name: pairs_digest(sets[name].digests, pairs.is_same) for name, pairs in candidate.items()}
        best = _best_so_far(blessed, baseline, digests) if blessed and baseline else {}
        past = _past(input_dict, exec_properties)
        verdict = make_verdict(
            candidate,
            baseline,
            best,
            conditions,
            _leaks(sets, input_dict.get(TRAINING_EXAMPLES_KEY), past),
            exec_properties[FOLDS_KEY],
            {name: _remarks(pairs, candidate[name].is_same, past) for name, pairs in sets.items()},
        )
        model = artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_KEY])
        verdict["blessed"] = _bless(blessing, all(condition["holds"] for condition in verdict["conditions"]))
        if verdict["blessed"]:
            best |= _better(best, {name: Record.of(model, pairs, digests[name]) for name, pairs in candidate.items()})
        # It is no artifact, and Kubeflow's entry point looks for the name of one by this number.
        blessing.mlmd_artifact.custom_properties.pop(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, None)
        for name, figures in verdict["sets"].items():
            if figures["accuracy"] is not None:
                evaluation.set_float_custom_property(f"{name}_accuracy", figures["accuracy"])
        _keep_private(evaluation.uri)
        for folder in (evaluation.uri, blessing.uri):
            io_utils.write_string_file(os.path.join(folder, VERIFICATION_FILE), json.dumps(verdict, indent=2))
        io_utils.write_string_file(os.path.join(blessing.uri, BEST_FILE), dumps(best))
        warnings = verdict_warnings(verdict)
        for warning in warnings:
            say(f"WARNING {warning}")
        _write_report(
            evaluation.uri,
            list(candidate.values()),
            {**lineage(input_dict, exec_properties), **_best_facts(verdict)},
            verdict=verdict,
            curve=_curve(input_dict),
            baseline=None if baseline is None else list(baseline.values()),
            baseline_name=_uri(input_dict, standard_component_specs.BASELINE_MODEL_KEY),
            warnings=warnings,
        )


def _read_both(
    evaluation: str, sets: Mapping[str, PairExamples], input_dict: _Artifacts, folds: Cut
) -> tuple[dict[str, ScoredPairs], dict[str, ScoredPairs] | None]:
    """Results of the candidate and of the latest blessed model, if there is one."""
    if not input_dict.get(standard_component_specs.BASELINE_MODEL_KEY):
        return read_evaluation(evaluation, "", sets, folds), None
    return (
        read_evaluation(evaluation, tfma_constants.CANDIDATE_KEY, sets, folds),
        read_evaluation(evaluation, tfma_constants.BASELINE_KEY, sets, folds),
    )


def _model(blessed: BlessedModel) -> types.Artifact:
    """The latest blessed model as TFX's Evaluator takes it."""
    if not blessed.place:
        raise DataError(f"{blessed.name}: expected the SavedModel in {' or '.join(blessed.places)}. Received: none")
    model = standard_artifacts.Model()
    # TFX adds the folder's name, and `custom_eval_shared_model` takes it off a version that is served.
    model.uri = blessed.place.removesuffix(f"/{path_constants.SERVING_MODEL_DIR}")
    return model


def _best_so_far(
    blessed: BlessedModel, baseline: Mapping[str, ScoredPairs], digests: Mapping[str, str]
) -> dict[str, Record]:
    """The best blessed model on each set: of the latest one's record, or the latest blessed model itself.

    A record of other pairs can't be compared with. It gives way to the latest blessed model, and that is said.
    """
    try:
        found = loads(blessed.best)
    except ValueError as error:
        say(f"WARNING {blessed.name}: the best starts anew with the latest blessed model, for its record is: {error}")
        found = {}
    for name, pairs in baseline.items():
        if name in found and not found[name].is_of(pairs, digests[name]):
            say(
                f"WARNING {name}: its pairs or folds are others than those of the best model so far, "
                f"{found.pop(name).model}: the best starts anew with the latest blessed model"
            )
    latest = {name: Record.of(blessed.name, pairs, digests[name]) for name, pairs in baseline.items()}
    return found | _better(found, latest)


def _better(older: Mapping[str, Record], newer: Mapping[str, Record | None]) -> dict[str, Record]:
    """By set, the better record; sets that neither judged are left out."""
    both = {name: better(older.get(name), record) for name, record in newer.items()}
    return {name: record for name, record in both.items() if record is not None}


def _bless(blessing: types.Artifact, holds: bool) -> bool:
    """TFX's verdict, withdrawn where a condition of ours doesn't hold: the best so far is beyond TFMA's thresholds."""
    key = constants.ARTIFACT_PROPERTY_BLESSED_KEY
    blessed = blessing.get_int_custom_property(key) == constants.BLESSED_VALUE
    if blessed and not holds:
        tf.io.gfile.remove(os.path.join(blessing.uri, constants.BLESSED_FILE_NAME))
        io_utils.write_string_file(os.path.join(blessing.uri, constants.NOT_BLESSED_FILE_NAME), "")
        blessing.set_int_custom_property(key, constants.NOT_BLESSED_VALUE)
    return blessed and holds


def _best_facts(verdict: Mapping[str, Any]) -> dict[str, str]:
    """What the report's lineage says about the best so far."""
    best = [f"{name} {of['accuracy']:.4f} by {of['model']}" for name, of in verdict["best"].items()]
    return {"best so far": "; ".join(best)} if best else {}


def _past(input_dict: _Artifacts, exec_properties: Mapping[str, Any]) -> Past:
    """What the network that the model began from was trained on."""
    start, digest = exec_properties[START_KEY], exec_properties[START_DIGEST_KEY]
    if not start and not digest:
        return NO_PAST
    examples = input_dict.get(TRAINING_EXAMPLES_KEY)
    content = (
        artifact_utils.get_single_instance(examples).get_string_custom_property("content_digest") if examples else ""
    )
    return read_past(start or handed_over()["init_from"], content)


def _remarks(pairs: PairExamples, is_same: np.ndarray, past: Past) -> list[str]:
    """What a set's people can't bear, or may have been seen before."""
    labels = {int(label) for people in pairs.identities for label in people if label.isdecimal()}
    remarks = (overused_in(pairs.identities, is_same), past.remark(labels))
    return [remark for remark in remarks if remark]


def _leaks(
    sets: Mapping[str, PairExamples], training_examples: list[types.Artifact] | None, past: Past
) -> dict[str, dict[str, int]]:
    """What each set shares with the training set; nothing where the training set's content isn't known.

    People whom the network saw that the model began from count as trained on.
    """
    if not training_examples:
        return {}
    training = read_training_content(artifact_utils.get_single_uri(training_examples))
    if training is None:
        return {}
    training = dataclasses.replace(training, identities=np.union1d(training.identities, past.identities))
    return {name: find_leak(pairs.digests, pairs.identities, training).to_dict() for name, pairs in sets.items()}


def lineage(input_dict: _Artifacts, exec_properties: Mapping[str, Any]) -> dict[str, str]:
    """Where the evaluated model comes from, by a short name each; what isn't known is left out.

    Args:
      input_dict: of the executor.
      exec_properties: of the executor.
    """
    model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
    path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
    facts = {
        "model": model.uri,
        "date": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
        **ModelMetadata.read(os.path.join(path, EXTRA)).facts(),
        "training run": f"that of the {model.type_name} artifact {model.id}",
        "training data": _data(input_dict, TRAINING_EXAMPLES_KEY),
        "verification data": _data(input_dict, standard_component_specs.EXAMPLES_KEY),
        "code of the evaluation": str(exec_properties.get("code_version", "")),
        "folds": "" if exec_properties[FOLDS_KEY] == "contiguous" else exec_properties[FOLDS_KEY],
        "compared with": _uri(input_dict, standard_component_specs.BASELINE_MODEL_KEY) or "nothing: first model",
    }
    return {name: fact for name, fact in facts.items() if fact}


def _curve(input_dict: _Artifacts) -> list[Point]:
    """The curve of the training, from the exported model; what can't be read is said."""
    model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
    path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
    file = os.path.join(path, EXTRA, CURVE_FILE)
    if not tf.io.gfile.exists(file):
        return []
    try:
        return read_curve(tf.io.gfile.GFile(file).read(MAX_CURVE_BYTES))
    except (tf.errors.OpError, ValueError) as error:
        say(f"WARNING {file}: the report shows no curve, for this can't be read: {error}")
        return []


def _uri(input_dict: _Artifacts, key: str) -> str | None:
    return artifact_utils.get_single_uri(input_dict[key]) if input_dict.get(key) else None


def _data(input_dict: _Artifacts, key: str) -> str:
    """An Examples artifact: where it is, and the digest of the files that it was made from."""
    if not input_dict.get(key):
        return ""
    artifact = artifact_utils.get_single_instance(input_dict[key])
    digest = artifact.get_string_custom_property("content_digest")
    folder = artifact.get_string_custom_property("data") or artifact.uri
    counts = {
        "records": "images",
        "identities": "identities",
        "verify_identities": "identities kept out for the set verify",
        "pairs": "pairs",
    }
    numbers = {key: artifact.get_int_custom_property(key) for key in counts if key in _custom(artifact)}
    found = [f"{numbers[key]:,} {noun}" for key, noun in counts.items() if numbers.get(key)]
    return ", ".join([folder, *found, *([f"digest {digest}"] if digest else [])])


def _custom(artifact: types.Artifact) -> Mapping[str, Any]:
    return artifact.mlmd_artifact.custom_properties


def _write_report(folder: str, sets: list[ScoredPairs], facts: dict[str, str], **more: Any) -> None:
    """Writes the report and its plots into a folder on any file system that TensorFlow knows.

    A report is for people: one that can't be made is said, and takes no verdict with it.
    """
    if not sets:
        return
    try:
        with contextlib.nullcontext(folder) if _is_local(folder) else private_folder() as local:
            write_report(os.path.join(local, REPORT_FILE), sets, facts, **more)
            if local != folder:
                _copy_below(local, folder)
    except Exception as error:
        traceback.print_exc()  # into the run's log
        say(f"WARNING no report, the verdict stands without it: {type(error).__name__}: {error}")


def _copy_below(source: str, target: str) -> None:
    """Copies the files of a folder of this machine, and of those in it, to a folder of another file system."""
    for place, _, names in os.walk(source):
        for name in names:
            path = os.path.join(target, os.path.relpath(os.path.join(place, name), source))
            tf.io.gfile.makedirs(os.path.dirname(path))
            tf.io.gfile.copy(os.path.join(place, name), path, overwrite=True)


def _keep_private(folder: str) -> None:
    """Keeps other users of this machine out of a folder whose report will show faces."""
    if _is_local(folder):
        os.chmod(folder, 0o700)


def _is_local(folder: str) -> bool:
    """Whether the path has no scheme."""
    return "://" not in folder
