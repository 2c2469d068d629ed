"""Each step of the compiled pipeline by Kubeflow Pipelines' own compiler, driver and launcher, up to the pushed model.

`make cluster-test` alone runs it: each container is a process that imports TFX anew, some 20 in all.
"""

import copy
import json
import os

import pytest

from tests.kfp_backend import KubeflowPipelines
from tests.kfp_services import BUCKET, Services
from tests.kubeflow import compile_demo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
LOOK_UPS = {"DataDigest", "LatestBlessedModel"}


@pytest.fixture
def services(tmp_path):
    if not os.environ.get("ARCFACE_TFX_KFP_TOOLS"):
        pytest.skip("Kubeflow Pipelines' own driver and launcher: `make cluster-test` runs them")
    with Services(tmp_path / "services") as running:
        yield running


def test_the_demos_pipeline_ends_in_a_pushed_model_with_which_the_next_one_is_compared(services, tmp_path):
    (document,) = compile_demo(tmp_path)["pipeline"]
    tasks = set(document["root"]["dag"]["tasks"])
    kubeflow = KubeflowPipelines(tmp_path, services)
    kubeflow.run(document)
    assert kubeflow.hits == []
    assert set(kubeflow.inputs) == tasks
    (version,) = (tmp_path / "root" / "serving" / "arcface").iterdir()
    verification = json.loads((version / "assets.extra" / "verification.json").read_text())
    assert list(verification["sets"]) == ["lfw", "cfp_fp", "verify"]
    assert (verification["blessed"], verification["baseline"]) == (True, None)
    stored = {one["Key"].rpartition("/")[2] for one in services.store.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert {"report.html", "schema.pbtxt", "model.json", "saved_model.pb"} <= stored
    assert kubeflow.inputs["VerificationEvaluator"]["parameterValues"]["baseline"] == ""

    # By Kubeflow's own cache: beside the look-ups, the first blessing makes two steps run once more.
    kubeflow.run(document)
    assert tasks - set(kubeflow.hits) == LOOK_UPS | {"VerificationEvaluator", "Pusher"}
    record = tmp_path / "root" / "blessed" / f"{version.name}.json"
    assert kubeflow.inputs["VerificationEvaluator"]["parameterValues"]["baseline"] == str(record)
    assert [path.name for path in (tmp_path / "root" / "serving" / "arcface").iterdir()] == [version.name]


def test_a_steps_pod_gets_what_is_asked_for_and_its_driver_refuses_what_is_newer(services, tmp_path):
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
    kubeflow = KubeflowPipelines(tmp_path, services)

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
