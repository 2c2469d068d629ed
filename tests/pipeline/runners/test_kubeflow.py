"""The compiled pipeline, read by Kubeflow's own client."""

import pytest
import yaml

pytestmark = pytest.mark.slow

NODES = {
    "RecordExampleGen",
    "PairExampleGen",
    "StatisticsGen",
    "ExampleSchema",
    "StatisticsSchema",
    "PairSchema",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "Exporter",
    "VerificationEvaluator",
    "Pusher",
}


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
    tasks = set(loaded.pipeline_spec.root.dag.tasks)
    assert tasks >= NODES
    # The Resolver becomes two look-ups.
    assert {task for task in tasks - NODES if task.startswith("LatestBlessedModel")} == tasks - NODES


def test_containers_run_our_image_and_training_waits_for_the_gate(compiled):
    spec = next(iter(yaml.safe_load_all(compiled.read_text())))
    executors = spec["deploymentSpec"]["executors"]
    images = {e["container"]["image"] for e in executors.values() if "container" in e}
    assert images == {"registry/arcface:1"}
    tasks = spec["root"]["dag"]["tasks"]
    assert "ExampleValidator" in tasks["Transform"]["dependentTasks"]
    assert "Transform" in tasks["Trainer"]["dependentTasks"]
    assert "Trainer" in tasks["Exporter"]["dependentTasks"]
