"""A step's container as Kubeflow's launcher starts it: artifacts of any store are in the launcher's folders."""

import json

import pytest
import yaml

from pipeline.runners.container import add_types, to_local, to_uris
from tests.processes import python


def _input(**uris):
    sides = {"inputs": {}, "outputs": {}}
    for name, uri in uris.items():
        side = "inputs" if name.startswith("in") else "outputs"
        sides[side].setdefault("artifacts", {})[name] = {"artifacts": [{"name": "7", "uri": uri}]}
    return sides


def _uris(executor_input):
    return {
        name: artifact["uri"]
        for side in executor_input.values()
        for name, many in side.get("artifacts", {}).items()
        for artifact in many["artifacts"]
    }


@pytest.mark.parametrize(("scheme", "folder"), [("gs", "gcs"), ("s3", "s3"), ("minio", "minio")])
def test_what_the_launcher_has_is_taken_from_its_folder_and_named_by_its_uri_again(tmp_path, scheme, folder):
    (tmp_path / folder / "bucket" / "run").mkdir(parents=True)
    given = _input(in_model=f"{scheme}://bucket/run/model", out_blessing=f"{scheme}://bucket/run/blessing")
    before = _uris(given)
    uris = to_local(given, str(tmp_path))
    local = _uris(given)
    assert local["in_model"] == str(tmp_path / folder / "bucket" / "run" / "model")
    said = {"artifacts": [{"uri": local["out_blessing"], "metadata": {"model": f"{local['in_model']}/7", "pairs": 3}}]}
    assert to_uris(said, uris) == {
        "artifacts": [{"uri": before["out_blessing"], "metadata": {"model": f"{before['in_model']}/7", "pairs": 3}}]
    }


@pytest.mark.parametrize("empty", [{}, {"type": {}}, {"type": {"instanceSchema": ""}}])
def test_an_input_whose_type_kubeflow_leaves_empty_has_that_of_the_steps_spec(empty):
    given = _input(in_model="s3://b/model", in_other="s3://b/other")
    model, other = (given["inputs"]["artifacts"][name]["artifacts"][0] for name in ("in_model", "in_other"))
    model |= empty
    other["type"] = {"schemaTitle": "tfx.Schema"}
    types = {"in_model": {"instanceSchema": "title: tfx.Model"}, "in_other": {"instanceSchema": "title: tfx.Examples"}}
    add_types(given, {"artifacts": {name: {"artifactType": one} for name, one in types.items()}})
    assert model["type"] == {"instanceSchema": "title: tfx.Model"}
    assert other["type"] == {"schemaTitle": "tfx.Schema"}


@pytest.mark.parametrize("uri", ["gs://other/run/model", "hdfs://bucket/run/model", "/mnt/run/model"])
def test_what_the_launcher_has_not_stays_as_it_is(tmp_path, uri):
    (tmp_path / "gcs" / "bucket" / "run").mkdir(parents=True)
    given = _input(in_model=uri)
    assert to_local(given, str(tmp_path)) == {}
    assert _uris(given) == {"in_model": uri}


def test_another_path_that_begins_alike_is_no_artifacts(tmp_path):
    (tmp_path / "s3" / "b").mkdir(parents=True)
    uris = to_local(_input(in_model="s3://b/model"), str(tmp_path))
    other = str(tmp_path / "s3" / "b" / "model2")
    assert to_uris([other, None, 1.5], uris) == [other, None, 1.5]


@pytest.mark.slow
def test_a_step_writes_where_the_launcher_uploads_from(tmp_path):
    from pipeline.config import make_config
    from pipeline.runners.kubeflow import compile_pipeline

    output = tmp_path / "pipeline.yaml"
    compile_pipeline(make_config("s3://b/data", "gs://b/runs", "demo", here=False), "image", str(output))
    spec = yaml.safe_load(output.read_text())
    container = spec["deploymentSpec"]["executors"]["PairSchema_executor"]["container"]
    assert container["command"] == ["python", "-m", "pipeline.runners.container"]

    (tmp_path / "minio" / "mlpipeline" / "run").mkdir(parents=True)
    constants = spec["root"]["dag"]["tasks"]["PairSchema"]["inputs"]["parameters"]
    type_ = spec["components"]["PairSchema"]["outputDefinitions"]["artifacts"]["schema"]["artifactType"]
    artifact = {"uri": "minio://mlpipeline/run/schema", "type": type_}
    given = {
        "inputs": {"parameterValues": {name: value["runtimeValue"]["constant"] for name, value in constants.items()}},
        "outputs": {"artifacts": {"schema": {"artifacts": [artifact]}}, "outputFile": str(tmp_path / "output.json")},
    }
    words = [word.replace("{{$}}", json.dumps(given)) for word in container["args"]]
    start = f"from pipeline.runners.container import main; main({str(tmp_path)!r})"
    result = python(["-c", start, *words], cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    written = (tmp_path / "minio" / "mlpipeline" / "run" / "schema" / "schema.pbtxt").read_text()
    assert written == constants["text"]["runtimeValue"]["constant"]
    (said,) = json.loads((tmp_path / "output.json").read_text())["artifacts"]["schema"]["artifacts"]
    assert said["uri"] == "minio://mlpipeline/run/schema"
