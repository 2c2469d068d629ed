"""What a run came to: its own nodes and figures, and what a person reads of them."""

import collections
import json
import os
import shlex
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.cli.run import print_summary
from pipeline.config import PipelineConfig
from pipeline.runs.artifacts import open_store
from pipeline.runs.tables import tensorboard_command
from pipeline.summary import RunSummary, summarize

FIGURES = {
    "pairs": 600.0,
    "accuracy": 0.985,
    "accuracy_std": 0.0229,
    "tar": 0.8933,
    "tar_1e2": 0.9433,
    "xnorm": 11.771,
}
CONDITION = {"text": "lfw.accuracy >= 0.95", "set": "lfw", "kind": "value", "value": 0.985, "holds": True, "reason": ""}
VERIFICATION = {
    "sets": {"lfw": FIGURES},
    "baseline": None,
    "conditions": [CONDITION],
    "best": {},
    "undefined": {"lfw": {}},
    "warnings": {"lfw": []},
    "folds": "contiguous",
    "leaks": {},
    "blessed": True,
}
INGEST = collections.defaultdict(int, records=8000, identities=500)  # all else that it counts is 0


def _summary(folder, **changes):
    fields = {
        "nodes": {"Trainer": "ran", "Pusher": "ran", "Transform": "cached", "LatestBlessedModel": "resolved"},
        "verification": VERIFICATION,
        "pushed": str(folder / "serving" / "arcface" / "100"),
        "already_served": False,
        "model": str(folder / "model"),
        "tensorboard": str(folder / "tensorboard"),
        "report": str(folder / "report.html"),
        "holdout": None,
        "ingest": INGEST,
    }
    return RunSummary(**{**fields, **changes})


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    """A function that gives the lines of a summary, as printed in the folder where everything lies."""
    monkeypatch.chdir(tmp_path)

    def lines(**changes):
        print_summary(_summary(tmp_path, **changes), str(tmp_path / "runs" / "1"), str(tmp_path / "run.log"))
        return capsys.readouterr().out.splitlines()

    lines.folder = tmp_path
    return lines


def test_the_printed_summary_says_what_ran_how_good_it_is_and_where_it_lies(printed):
    *lines, ask = printed()
    assert lines == [
        "",
        "2 nodes ran, 1 from cache",
        "8,000 images of 500 identities",
        "",
        "set         pairs  accuracy ± std     TAR@FAR=1e-2  TAR@FAR=1e-3    XNorm",
        "lfw           600  0.9850 ± 0.0229    0.9433        0.8933         11.771",
        "",
        "blessed",
        "  holds  lfw.accuracy >= 0.95: 0.9850",
        "  first model: no comparison, the conditions on its own figures decide",
        "",
        "model        serving/arcface/100",
        "report       report.html",
        f"tensorboard  {tensorboard_command(str(printed.folder / 'tensorboard'))}",
        "run          runs/1",
        "log          run.log",
        "",
    ]
    assert ask.startswith("ask it:      ")
    assert ask.endswith(" embed serving/arcface/100 IMAGE.jpg")
    assert str(printed.folder) not in "".join([*lines, ask])


def test_a_model_that_is_not_pushed_is_said_not_to_be(printed):
    lines = printed(pushed=None, verification={**VERIFICATION, "blessed": False}, report=None, tensorboard=None)
    assert "NOT blessed" in lines
    assert "model        not pushed; exported to model" in lines
    assert not [line for line in lines if line.startswith(("report", "tensorboard"))]
    assert lines[-1].endswith(" embed model IMAGE.jpg")


def test_a_model_that_is_blocked_says_by_what_and_how_to_change_it(printed):
    failing = {"text": "lfw.tar >= 0.95", "kind": "absolute", "value": 0.8933, "holds": False, "reason": ""}
    conditions = [*VERIFICATION["conditions"], failing]
    lines = printed(pushed=None, verification={**VERIFICATION, "blessed": False, "conditions": conditions})
    place = lines.index("model        not pushed; exported to model")
    assert lines[place + 1 : place + 3] == [
        "             blocked by lfw.tar >= 0.95",
        "             to change the gate, put other numbers into: "
        "'evaluation.conditions=[lfw.accuracy >= 0.95, lfw.tar >= 0.95]'",
    ]


def test_all_paths_of_a_summary_have_one_form(printed, tmp_path, monkeypatch):
    best = {"lfw": {"accuracy": 0.99, "model": f"{tmp_path}/pipeline/Exporter/model/9"}}
    verification = {**VERIFICATION, "baseline": VERIFICATION["sets"], "best": best}
    ingest = {**INGEST, "quarantined": 2, "quarantine": f"{tmp_path}/pipeline/quarantine/list.csv"}
    assert str(tmp_path) not in "\n".join(printed(verification=verification, ingest=ingest))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    lines = "\n".join(printed(verification=verification, ingest=ingest))
    for name in (
        "serving/arcface/100",
        "report.html",
        "tensorboard",
        "runs/1",
        "run.log",
        "pipeline/quarantine/list.csv",
    ):
        assert f" {tmp_path}/{name}" in lines


def test_a_model_that_was_served_before_and_held_out_images(printed):
    lines = printed(already_served=True, holdout={"accuracy": 0.5, "images": 1234, "step": 7})
    place = lines.index("model        serving/arcface/100")
    assert lines[place + 1] == "             already served as version 100"
    assert "held out     0.5000 of 1,234 images recognised" in lines


def test_the_command_to_ask_can_be_pasted(printed, tmp_path):
    (*_, ask) = printed(pushed=str(tmp_path / "it's mine" / "100"))
    assert shlex.split(ask)[-2:] == ["it's mine/100", "IMAGE.jpg"]


class _Runs:
    """ML Metadata as runs of the pipeline write it."""

    def __init__(self, folder):
        self.config = PipelineConfig("data", str(folder))
        self._folder = folder
        self._store = open_store(self.config.metadata_path)

    def add(self, run, node, state, kind="", files=None, type_="Node", **custom):
        """An execution of a node in a run, and its output."""
        store = self._store
        execution_type = store.put_execution_type(mlmd.ExecutionType(name=type_))
        execution = mlmd.Execution(type_id=execution_type, last_known_state=state)
        contexts = [self._context(*context) for context in (("pipeline_run", run), ("node", f"arcface.{node}"))]
        pairs = []
        if kind:
            uri = self._folder / run / node / kind
            for name, content in (files or {}).items():
                (uri / name).parent.mkdir(parents=True, exist_ok=True)
                (uri / name).write_text(content)
            type_id = store.put_artifact_type(mlmd.ArtifactType(name=kind))
            artifact = mlmd.Artifact(type_id=type_id, uri=str(uri), state=mlmd.Artifact.LIVE)
            for name, value in custom.items():
                field = "int_value" if isinstance(value, int) else "string_value"
                setattr(artifact.custom_properties[name], field, value)
            pairs.append((artifact, mlmd.Event(type=mlmd.Event.OUTPUT)))
        store.put_execution(execution, pairs, contexts)

    def _context(self, kind, name):
        type_id = self._store.put_context_type(mlmd.ContextType(name=kind))
        try:
            return mlmd.Context(id=self._store.get_context_by_type_and_name(kind, name).id, type_id=type_id, name=name)
        except AttributeError:  # not there yet
            return mlmd.Context(type_id=type_id, name=name)


def _a_run(runs, run, records, accuracy, **pushed):
    figures = json.dumps({"sets": {"lfw": {"accuracy": accuracy}}})
    complete, cached = mlmd.Execution.COMPLETE, mlmd.Execution.CACHED
    runs.add(run, "RecordExampleGen", cached, "Examples", {"x": ""}, records=records, identities=3)
    runs.add(run, "PairExampleGen", cached, "Examples", {"y": ""}, pairs=3)
    runs.add(run, "LatestBlessedModel", complete, type_="components.latest_blessed.component.LatestBlessed")
    runs.add(run, "Exporter", complete, "Model", {"Format-Serving/saved_model.pb": ""})
    runs.add(run, "VerificationEvaluator", complete, "ModelEvaluation", {"verification.json": figures})
    runs.add(run, "Pusher", complete, "PushedModel", **pushed)


def test_a_summary_is_of_the_run_that_is_asked_for(tmp_path):
    runs = _Runs(tmp_path)
    destination = str(tmp_path / "serving" / "7")
    _a_run(runs, "one", 10, 0.5, pushed=1, pushed_destination=destination, already_served=1)
    _a_run(runs, "two", 20, 0.75, pushed=0)  # another one in the same root, begun later
    one, two = (summarize(runs.config, run) for run in ("one", "two"))
    assert (one.verification["sets"]["lfw"]["accuracy"], two.verification["sets"]["lfw"]["accuracy"]) == (0.5, 0.75)
    assert (one.ingest["records"], two.ingest["records"]) == (10, 20)
    assert (one.pushed, one.already_served) == (destination, True)
    assert (two.pushed, two.already_served) == (None, False)
    assert Path(one.model).parts[-4:-2] == ("one", "Exporter")
    assert one.nodes == {
        "RecordExampleGen": "cached",
        "PairExampleGen": "cached",
        "LatestBlessedModel": "resolved",
        "Exporter": "ran",
        "VerificationEvaluator": "ran",
        "Pusher": "ran",
    }


def test_what_a_failed_run_did_not_reach_is_none(tmp_path):
    runs = _Runs(tmp_path)
    _a_run(runs, "one", 10, 0.5, pushed=0)
    runs.add("two", "RecordExampleGen", mlmd.Execution.FAILED)
    summary = summarize(runs.config, "two")
    assert summary.nodes == {"RecordExampleGen": "failed"}
    rest = {name: value for name, value in summary.to_dict().items() if name != "nodes"}
    assert set(rest.values()) == {None, False}
    assert os.path.exists(runs.config.metadata_path)
