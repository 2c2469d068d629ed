"""OpenVINO Model Server's client, against TF Serving's API. Its copies of the messages clash with TensorFlow's."""

import base64
import json
import subprocess
import sys

import numpy as np
import pytest

from serving.export import probe_images

pytestmark = pytest.mark.slow
_CODE = """
import base64, json, sys
from ovmsclient import make_grpc_client, make_http_client
grpc, http, *images = sys.argv[1:]
images = [base64.b64decode(image) for image in images]
answers = []
for client in (make_grpc_client(grpc), make_http_client(http)):
    status, metadata = client.get_model_status("m"), client.get_model_metadata("m")
    answer = client.predict({"image_bytes": images}, "m")
    answers.append([status, metadata, answer["embedding"].tolist()])
print(json.dumps(answers, default=str))
"""


def test_status_metadata_and_predict(served, model):
    images = probe_images(2)
    encoded = [base64.b64encode(image).decode() for image in images]
    done = subprocess.run(
        [sys.executable, "-c", _CODE, served.grpc, served.rest, *encoded], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for status, metadata, embeddings in json.loads(done.stdout):
        assert status["1"]["state"] == "AVAILABLE"
        assert metadata["1"]["inputs"]["image_bytes"]["dtype"] == "DT_STRING", metadata
        np.testing.assert_allclose(embeddings, model.embed(images, resize=True).embeddings, atol=1e-5)
