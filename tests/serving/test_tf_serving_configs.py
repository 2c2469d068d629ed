"""What ships for TF Serving, parsed with TF Serving's own protos."""

import json
import subprocess
from pathlib import Path

import yaml
from google.protobuf import text_format

FOLDER = Path(__file__).resolve().parents[2] / "serving" / "tf_serving"


def test_model_config_offers_the_folder_that_is_pushed_to():
    from tensorflow_serving.config import model_server_config_pb2

    from arcface_common.artifacts import MODEL_NAME
    from pipeline.config import PipelineConfig

    config = text_format.Parse((FOLDER / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert model.name == MODEL_NAME
    assert model.base_path == f"/models/{Path(PipelineConfig(data='d', root='r').serving_dir).name}"


def _parsed(mxnet_python, file, module, message):
    """A file as JSON, by an older client in the oracle's environment: tensorflow-serving-api ships not all messages."""
    code = (
        "import sys; from google.protobuf import json_format, text_format\n"
        f"from tensorflow_serving.{module} import {message} as Message\n"
        "parsed = text_format.Parse(sys.stdin.read(), Message())\n"
        "print(json_format.MessageToJson(parsed, preserving_proto_field_name=True))"
    )
    content = (FOLDER / file).read_text()
    result = subprocess.run([mxnet_python, "-c", code], input=content, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_batching_parameters_pad_up_to_the_largest_batch(mxnet_python):
    module = "servables.tensorflow.session_bundle_config_pb2"
    parameters = _parsed(mxnet_python, "batching.config", module, "BatchingParameters")
    sizes = [int(size) for size in parameters["allowed_batch_sizes"]]
    assert sizes == sorted(sizes)
    assert sizes[-1] == int(parameters["max_batch_size"])


def test_prometheus_reads_where_serve_answers_it(mxnet_python):
    from serving.server.tfs_rest import METRICS

    config = _parsed(mxnet_python, "monitoring.config", "config.monitoring_config_pb2", "MonitoringConfig")
    assert config == {"prometheus_config": {"enable": True, "path": METRICS}}


def test_compose_file_names_the_configs_and_mounts_read_only():
    service = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["serving"]
    mounted = [volume.split(":") for volume in service["volumes"] if volume.startswith("./")]
    assert {Path(source).name for source, *_ in mounted} == {path.name for path in FOLDER.glob("*.config")}
    for source, target, mode in mounted:
        assert (FOLDER / source).is_file()
        assert any(argument.endswith(target) for argument in service["command"])
        assert mode == "ro"
