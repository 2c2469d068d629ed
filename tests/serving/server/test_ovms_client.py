"""OpenVINO Model Server's client, against TF Serving's API. Its copies of the messages clash with TensorFlow's."""

import base64
import json
import subprocess
import sys

import numpy as np
import pytest

from serving.export import probe_images

pytestmark = pytest.mark.slow
# Metadata over HTTP are left out: the client reads OpenVINO's camelCase there, which TF Serving doesn't write.
_CODE = """
import base64, json, sys
from ovmsclient import make_grpc_client, make_http_client
grpc, http, *images = sys.argv[1:]
images = [base64.b64decode(image) for image in images]
clients = make_grpc_client(grpc), make_http_client(http)
answers = [[client.get_model_status("m"), client.predict({"image_bytes": images}, "m")] for client in clients]
answers = [[status, answer["embedding"].tolist()] for status, answer in answers]
print(json.dumps([answers, clients[0].get_model_metadata("m")], default=str))
"""


def test_status_metadata_and_predict(served, model):
    images = probe_images(2)
    encoded = [base64.b64encode(image).decode() for image in images]
    command = [sys.executable, "-c", _CODE, served.grpc, served.rest, *encoded]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers, metadata = json.loads(done.stdout)
    assert len(answers) == 2
    for status, embeddings in answers:
        assert status["1"]["state"] == "AVAILABLE"
        np.testing.assert_allclose(embeddings, model.embed(images, resize=True).embeddings, atol=1e-5)
    assert metadata["inputs"]["image_bytes"] == {"shape": [-1], "dtype": "DT_STRING"}
