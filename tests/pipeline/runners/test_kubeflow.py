"""The compiled pipeline, read by Kubeflow's own client, and compiled by its backend and by the stand-in for that."""

import copy
import json
import re

import pytest
import yaml

from pipeline.kubeflow_settings import STEPS
from tests import kfp_tools
from tests.crds import refusals
from tests.kubeflow import RefusedError, accept

pytestmark = pytest.mark.slow

NODES = set(STEPS)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    from pipeline.config import make_config
    from pipeline.runners.kubeflow import compile_pipeline

    output = tmp_path_factory.mktemp("kubeflow") / "pipeline.yaml"
    compile_pipeline(
        make_config("gs://bucket/data", "gs://bucket/runs", "r50", here=False), "registry/arcface:1", str(output)
    )
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    return output


def test_kfp_loads_it_and_every_node_is_in_it(compiled):
    from kfp import components

    loaded = components.load_component_from_file(str(compiled))
    assert loaded.pipeline_spec.schema_version == "2.1.0"
    assert set(loaded.pipeline_spec.root.dag.tasks) == NODES


@pytest.fixture
def document(compiled):
    return copy.deepcopy(yaml.safe_load(compiled.read_text()))


def test_the_backend_takes_it(document):
    assert set(accept(document).root.dag.tasks) == NODES


def test_kubeflows_own_compiler_makes_a_workflow_of_it(document):
    workflow = kfp_tools.compiled(document)
    templates = {template["name"]: template for template in workflow["spec"]["templates"]}
    tasks = {task["name"]: task for task in templates["root"]["dag"]["tasks"]}
    assert set(tasks) == NODES | {f"{node}-driver" for node in NODES}
    annotations = workflow["metadata"]["annotations"]
    for node, task in document["root"]["dag"]["tasks"].items():
        driver = tasks[f"{node}-driver"]
        told = {one["name"]: one["value"] for one in driver["arguments"]["parameters"]}
        container = document["deploymentSpec"]["executors"][f"{node}_executor"]["container"]
        implementation = f"pipelines.kubeflow.org/implementations-{node}"
        assert told["container"] == f"{{{{workflow.annotations.{implementation}}}}}"
        assert json.loads(annotations[implementation]) == container
        assert container["image"] == "registry/arcface:1"
        # A step waits for all that it was compiled to wait for, and its container for its driver.
        waits = {f"{name}.Succeeded" for name in task.get("dependentTasks", [])}
        assert set(driver.get("depends", "").split(" && ")) - {""} == waits
        assert tasks[node]["depends"] == f"{node}-driver.Succeeded"
        assert json.loads(told["task"])["inputs"] == task["inputs"]
    (start,) = [task for task in templates["entrypoint"]["dag"]["tasks"] if task["name"] == "root-driver"]
    (given,) = [one["value"] for one in start["arguments"]["parameters"] if one["name"] == "runtime-config"]
    defined = document["root"]["inputDefinitions"]["parameters"]
    assert json.loads(given)["parameterValues"] == {name: one["defaultValue"] for name, one in defined.items()}


def _resolver(document):
    document["deploymentSpec"]["executors"]["LatestBlessedModel_executor"] = {"resolver": {"outputArtifactQueries": {}}}


def _strange_producer(document):
    parameters = document["root"]["dag"]["tasks"]["VerificationEvaluator"]["inputs"]["parameters"]
    parameters["baseline"]["taskOutputParameter"]["producerTask"] = "LatestBlessedModel_task"


def _no_executor(document):
    del document["deploymentSpec"]["executors"]["Pusher_executor"]


def _no_component(document):
    document["root"]["dag"]["tasks"]["Pusher"]["componentRef"]["name"] = "Pushr"


def _no_name(document):
    document["pipelineInfo"]["name"] = ""


def _unknown_field(document):
    document["root"]["dag"]["tasks"]["Pusher"]["hooks"] = {}


@pytest.mark.parametrize("compiler", [accept, kfp_tools.compiled], ids=["stand-in", "KFP 2.0.5"])
@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (_resolver, "non-container and non-importer executor not implemented"),
        (_strange_producer, 'unknown producer task "LatestBlessedModel_task" in DAG'),
        (_no_executor, 'executor(label="Pusher_executor") not found in deployment config'),
        (_no_component, 'cannot find component ref name="Pushr"'),
        (_no_name, "pipelineInfo.name is empty"),
        (_unknown_field, "failed to parse pipeline spec"),
    ],
)
def test_the_backend_and_its_stand_in_refuse_the_same(document, change, answer, compiler):
    change(document)
    with pytest.raises(RefusedError, match=f"(?i){re.escape(answer)}"):
        compiler(document)


def test_what_is_looked_up_is_never_cached_and_all_else_is(document):
    tasks = document["root"]["dag"]["tasks"]
    uncached = {name for name, task in tasks.items() if not task.get("cachingOptions", {}).get("enableCache")}
    assert uncached == {"DataDigest", "LatestBlessedModel"}
    # Kubeflow runs no hook, and nothing is left to one.
    assert not [e for e in document["deploymentSpec"]["executors"].values() if "lifecycle" in e["container"]]


def test_containers_run_our_image_and_training_waits_for_the_gate(compiled):
    spec = next(iter(yaml.safe_load_all(compiled.read_text())))
    executors = spec["deploymentSpec"]["executors"]
    images = {e["container"]["image"] for e in executors.values() if "container" in e}
    assert images == {"registry/arcface:1"}
    tasks = spec["root"]["dag"]["tasks"]
    assert "ExampleValidator" in tasks["Transform"]["dependentTasks"]
    assert "Transform" in tasks["Trainer"]["dependentTasks"]
    assert "Trainer" in tasks["Exporter"]["dependentTasks"]


def test_vertex_gets_the_same_graph_as_a_job_that_its_own_client_reads(compiled, tmp_path):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    from pipeline.config import make_config
    from pipeline.runners.kubeflow import compile_pipeline

    output = tmp_path / "pipeline.json"
    config = make_config("gs://bucket/data", "gs://bucket/runs", "r50", here=False)
    compile_pipeline(config, "registry/arcface:1", str(output), "vertex")
    assert json.loads(output.read_text())["pipelineSpec"] == yaml.safe_load(compiled.read_text())

    job = aiplatform.PipelineJob(
        display_name="arcface",
        template_path=str(output),
        project="faces",
        location="europe-west4",
        credentials=AnonymousCredentials(),
    )
    sent = job.to_dict()
    assert sent["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/runs/pipeline"
    assert set(sent["pipelineSpec"]["root"]["dag"]["tasks"]) == NODES


def test_parameters_have_the_compiled_values_as_defaults(compiled, document):
    from kfp import components

    inputs = components.load_component_from_file(str(compiled)).component_spec.inputs
    assert {name: (one.type, one.default, one.optional) for name, one in inputs.items()} == {
        "data": ("String", "gs://bucket/data", True),
        "steps": ("Integer", 227000, True),
        "conditions": ("String", "lfw.accuracy >= 0.99, lfw.accuracy change >= 0", True),
    }
    text = json.dumps(document["root"]["dag"]["tasks"])
    assert "gs://bucket/data" not in text
    assert text.count('{"componentInputParameter": "data"}') == 3


def test_a_volume_is_mounted_in_each_step_and_the_trainers_has_the_train_job(tmp_path):
    from pipeline.config import make_config
    from pipeline.runners.cluster_jobs import ClusterJob
    from pipeline.runners.kubeflow import compile_pipeline

    settings = ["train.workers=2", "kubeflow.volumes.runs=/mnt/runs", "kubeflow.gpus={Trainer: 8}"]
    config = make_config("gs://bucket/data", "/mnt/runs/arcface", "r50", settings, here=False)
    job = ClusterJob("trainjob", "i", config.kubeflow)
    written = compile_pipeline(config, "registry/arcface:1", str(tmp_path / "p.yaml"), cluster_job=job)
    assert written == [str(tmp_path / name) for name in ("p.yaml", "p-runtime.yaml", "p-trainjob.yaml")]
    spec, platform = yaml.safe_load_all((tmp_path / "p.yaml").read_text())
    assert set(accept(spec).root.dag.tasks) == NODES
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(mounts) == set(spec["deploymentSpec"]["executors"])
    assert all(mount["pvcMount"][0]["mountPath"] == "/mnt/runs" for mount in mounts.values())
    parameters = spec["root"]["dag"]["tasks"]["Trainer"]["inputs"]["parameters"]
    assert parameters["work"]["runtimeValue"]["constant"] == "/mnt/runs/arcface/training"
    (submitted,) = yaml.safe_load_all((tmp_path / "p-trainjob.yaml").read_text())
    assert json.loads(parameters["custom_config"]["runtimeValue"]["constant"])["cluster_job"] == submitted
    _, runtime = yaml.safe_load_all((tmp_path / "p-runtime.yaml").read_text())
    assert submitted["spec"]["trainer"]["resourcesPerNode"] == {"limits": {"nvidia.com/gpu": "8"}}
    assert all("resources" not in one["container"] for one in spec["deploymentSpec"]["executors"].values())
    assert refusals("trainjobs", submitted) == refusals("trainingruntimes", runtime) == []
