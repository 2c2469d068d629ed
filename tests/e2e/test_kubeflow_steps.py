"""Every step of the compiled pipeline, started as Kubeflow would start its container, up to the pushed model."""

import json
import shutil

import pytest

from tests.cluster import Cluster
from tests.helpers import write_pairs
from tests.kubeflow import LOOK_UPS, Backend, change_in_place, compile_demo, pushed

pytestmark = pytest.mark.e2e


@pytest.fixture
def document(tmp_path):
    """The compiled pipeline."""
    (spec,) = compile_demo(tmp_path)["pipeline"]
    return spec


def test_the_compiled_steps_end_in_a_pushed_model_with_which_the_next_one_is_compared(document, tmp_path):
    backend = Backend(tmp_path / "run")
    backend.run(document)
    tasks = set(document["root"]["dag"]["tasks"])
    version = pushed(tmp_path / "root")
    verification = json.loads((version / "assets.extra" / "verification.json").read_text())
    assert list(verification["sets"]) == ["lfw", "cfp_fp", "verify"]
    assert verification["blessed"]
    assert verification["baseline"] is None
    assert [condition["holds"] for condition in verification["conditions"]] == [True, True]
    assert set(verification["leaks"]) == {"lfw", "cfp_fp", "verify"}
    assert verification["leaks"]["verify"]["identities"] == 3
    assert list((tmp_path / "run" / "store").rglob("report.html"))
    assert backend.inputs["VerificationEvaluator"]["parameterValues"]["baseline"] == ""

    # Beside the look-ups, the first blessing makes two steps run once more; the same model keeps its version.
    backend.run(document)
    assert tasks - set(backend.hits) == LOOK_UPS | {"VerificationEvaluator", "Pusher"}
    record = tmp_path / "root" / "blessed" / f"{version.name}.json"
    assert backend.inputs["VerificationEvaluator"]["parameterValues"]["baseline"] == str(record)
    assert pushed(tmp_path / "root") == version
    verification = json.loads((version / "assets.extra" / "verification.json").read_text())
    assert verification["baseline"]["lfw"] == verification["sets"]["lfw"]
    backend.run(document)
    assert tasks - set(backend.hits) == LOOK_UPS


def test_a_data_set_that_was_changed_in_place_is_ingested_again(document, tmp_path):
    backend, ingest = Backend(tmp_path / "run"), {"DataDigest", "RecordExampleGen"}
    backend.run(document, only=ingest)
    before = backend.inputs["RecordExampleGen"]["parameterValues"]
    path = tmp_path / "data" / "train.rec"

    backend.run(document, only=ingest)
    assert backend.hits == ["RecordExampleGen"]
    change_in_place(path)
    backend.run(document, only=ingest)
    assert backend.hits == []
    after = backend.inputs["RecordExampleGen"]["parameterValues"]
    assert {name for name in before if before[name] != after[name]} == {"content"}

    # The verification sets are another digest, and a copy is the same data.
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    write_pairs(tmp_path / "data", "lfw", 30)
    backend.run(document, only=ingest)
    assert backend.hits == ["RecordExampleGen"]


def test_what_is_changed_on_the_clusters_page_reaches_every_step_that_it_is_for(document, tmp_path):
    backend = Backend(tmp_path / "run")
    (tmp_path / "data").rename(tmp_path / "other")
    asked = {"data": str(tmp_path / "other"), "steps": 4, "conditions": "[lfw.accuracy >= 0, cfp_fp.accuracy >= 1]"}
    backend.run(document, parameters=asked)
    (model,) = (tmp_path / "run" / "store").rglob("model_run/model.json")
    training = json.loads(model.read_text())["training"]
    assert (training["steps"], training["warmup_steps"]) == (4, 2)
    verdicts = [json.loads(path.read_text()) for path in (tmp_path / "run" / "store").rglob("verification.json")]
    assert {one["text"] for verdict in verdicts for one in verdict["conditions"]} == {
        "lfw.accuracy >= 0",
        "cfp_fp.accuracy >= 1",
    }
    with pytest.raises(AssertionError, match="conditions: expected sets that are evaluated, lfw, cfp_fp.* 'lwf'"):
        backend.run(document, only={"DataDigest"}, parameters={**asked, "conditions": "lwf.accuracy >= 0"})


def test_the_trainers_step_has_pods_of_their_own_train(tmp_path, monkeypatch):
    volume = f"kubeflow.volumes={{runs: {tmp_path / 'root'}}}"
    options = ["--trainer", "trainjob", "--set", volume, "--set", "train.workers=2"]
    files = compile_demo(tmp_path, *options)
    with Cluster(tmp_path / "cluster") as cluster:
        monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig)
        cluster.apply(*files["pipeline-runtime"])
        backend = Backend(tmp_path / "run")
        spec, _ = files["pipeline"]
        tasks = spec["root"]["dag"]["tasks"]
        backend.run(spec, only=set(tasks) - {"VerificationEvaluator", "Pusher", "LatestBlessedModel"})
        (job,) = cluster.jobs.values()
        assert [pod.code for pod in job.pods] == [0, 0]
        assert cluster.statuses[-1]["progressPercentage"] == 100
    # The model is where Kubeflow keeps it, and nothing is left on the volume.
    (trained,) = (tmp_path / "run" / "store").rglob("model_run/model.json")
    assert json.loads(trained.read_text())["training"]["workers"] == 2
    assert list((tmp_path / "root" / "training").iterdir()) == []
