"""Each step of the compiled pipeline by Kubeflow Pipelines' own compiler, driver and launcher, up to the pushed model.

`make kubeflow-test` alone runs it: each container is a process that imports TFX anew, some 25 in all.
"""

import copy
import json
import os

import pytest

from tests.kfp_backend import KubeflowPipelines
from tests.kfp_services import BUCKET, Services
from tests.kubeflow import LOOK_UPS, change_in_place, compile_demo, pushed, run_demo
from tests.processes import ONE_THREAD

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture
def services(request, tmp_path):
    """Artifacts are called minio://; indirectly, with another root."""
    if not os.environ.get("ARCFACE_TFX_KFP_TOOLS"):
        pytest.skip("Kubeflow Pipelines' own driver and launcher: `make kubeflow-test` runs them")
    with Services(tmp_path / "services", *([request.param] if hasattr(request, "param") else [])) as running:
        yield running


@pytest.fixture
def kubeflow(services, tmp_path):
    return KubeflowPipelines(tmp_path, services, ONE_THREAD)


@pytest.mark.parametrize("services", [f"s3://{BUCKET}/v2"], indirect=True)
def test_the_demos_pipeline_ends_in_the_model_of_the_local_run_with_which_the_next_one_is_compared(
    kubeflow, services, tmp_path
):
    """Artifacts and the root are s3://."""
    services.store.create_bucket(Bucket="runs")
    (document,) = compile_demo(tmp_path, root="s3://runs/arcface")["pipeline"]
    tasks = set(document["root"]["dag"]["tasks"])
    kubeflow.run(document)
    assert kubeflow.hits == []
    assert set(kubeflow.inputs) == tasks
    stored = {one["Key"].rpartition("/")[2] for one in services.store.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert {"report.html", "schema.pbtxt", "model.json", "saved_model.pb"} <= stored
    assert kubeflow.inputs["VerificationEvaluator"]["parameterValues"]["baseline"] == ""
    version, local = _fetched(services, tmp_path / "root"), run_demo(tmp_path, ONE_THREAD)
    verdict = _verdict(version)
    assert (list(verdict["sets"]), verdict["blessed"]) == (["lfw", "cfp_fp", "verify"], True)
    expected = _verdict(local)
    assert verdict == {**expected, "sets": _about(expected["sets"])}
    assert _files(version) == _files(local)

    # By Kubeflow's own cache: beside the look-ups, the first blessing makes two steps run once more.
    kubeflow.run(document)
    assert tasks - set(kubeflow.hits) == LOOK_UPS | {"VerificationEvaluator", "Pusher"}
    record = f"s3://runs/arcface/blessed/{version.name}.json"
    assert kubeflow.inputs["VerificationEvaluator"]["parameterValues"]["baseline"] == record
    assert _fetched(services, tmp_path / "root") == version
    assert _verdict(version)["baseline"] == _about(verdict["sets"])


def _fetched(services, folder):
    """The one version that is served beneath the root, copied to a folder."""
    for one in services.store.list_objects_v2(Bucket="runs", Prefix="arcface/")["Contents"]:
        path = folder / one["Key"].removeprefix("arcface/")
        path.parent.mkdir(parents=True, exist_ok=True)
        services.store.download_file("runs", one["Key"], str(path))
    return pushed(folder)


def _verdict(version):
    """What the pushed model's evaluation says."""
    return json.loads((version / "assets.extra" / "verification.json").read_text())


def _about(sets):
    """Figures to compare others with: to the last digit, but for XNorm, a mean, which differed by 1e-9 of it."""
    return {name: {**figures, "xnorm": pytest.approx(figures["xnorm"], rel=1e-8)} for name, figures in sets.items()}


def _files(version):
    """Path -> content, of what the model computes with and what it was checked with."""
    names = (
        "variables/variables.data-00000-of-00001",
        "assets.extra/reference_embeddings.npy",
        "assets.extra/curve.csv",
    )
    return {name: (version / name).read_bytes() for name in names}


def test_a_data_set_that_was_changed_in_place_is_another_key_of_kubeflows_cache(kubeflow, tmp_path):
    (document,) = compile_demo(tmp_path)["pipeline"]
    tasks = document["root"]["dag"]["tasks"]
    names = ("DataDigest", "RecordExampleGen", "StatisticsGen")
    tasks = document["root"]["dag"]["tasks"] = {name: tasks[name] for name in names}
    alone = copy.deepcopy(document)
    ingest = alone["root"]["dag"]["tasks"] = {"RecordExampleGen": copy.deepcopy(tasks["RecordExampleGen"])}
    ingest["RecordExampleGen"]["inputs"]["parameters"]["content"] = {"runtimeValue": {"constant": "the same"}}
    del ingest["RecordExampleGen"]["dependentTasks"]

    kubeflow.run(document)
    before = kubeflow.inputs["RecordExampleGen"]["parameterValues"]
    kubeflow.run(alone)
    assert kubeflow.hits == []
    kubeflow.run(document)
    assert kubeflow.hits == ["RecordExampleGen", "StatisticsGen"]
    change_in_place(tmp_path / "data" / "train.rec")
    kubeflow.run(document)
    assert kubeflow.hits == []
    after = kubeflow.inputs["RecordExampleGen"]["parameterValues"]
    assert {name for name in before if before[name] != after[name]} == {"content"}
    # Without the digest, Kubeflow sees no change of the files.
    kubeflow.run(alone)
    assert kubeflow.hits == ["RecordExampleGen"]


def test_a_steps_pod_gets_what_is_asked_for_and_its_driver_refuses_what_is_newer(kubeflow, tmp_path):
    settings = (
        *("cpu.all=2", "memory.all=8Gi", "gpus.all=1", "node_selector.all={pool: gpu}", "shm.all=4Gi"),
        *("scratch.all=20Gi", "secrets={s3: {access: KEY}}", "volumes={faces: /data}", "run_as_user=4711"),
        "tolerations.all=[{key: nvidia.com/gpu, operator: Exists}]",
    )
    words = [word for setting in settings for word in ("--set", f"kubeflow.{setting}")]
    document, platform = compile_demo(tmp_path, *words)["pipeline"]
    tasks = document["root"]["dag"]["tasks"]
    document["root"]["dag"]["tasks"] = {"ExampleSchema": tasks["ExampleSchema"]}
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    asked = pods["ExampleSchema_executor"]

    def run(config):
        pods["ExampleSchema_executor"] = config
        kubeflow.run(document, copy.deepcopy(platform))

    run({"nodeSelector": asked.pop("nodeSelector")})
    pod = kubeflow.pods["ExampleSchema"]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    limits = {"cpu": "2", "memory": "8.589934592G", "nvidia.com/gpu": "1"}
    assert pod["containers"][0]["resources"]["limits"] == limits
    for name, value in asked.items():
        with pytest.raises(AssertionError, match="(?s)ExampleSchema-driver.*unknown field"):
            run({name: value})
