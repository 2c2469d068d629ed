"""Export, the check before a push, and the push itself, on a real small backbone."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving import check, export, local, pusher, signatures
from tests.helpers import jpeg
from trainer_module import backbones, checkpoints
from trainer_module.errors import DataError
from trainer_module.features import PixelFormat

DIM = 16


@pytest.fixture(scope="module")
def backbone():
    return backbones.build("iresnet_tiny", embedding_dim=DIM)


@pytest.fixture(scope="module")
def metadata():
    return export.ModelMetadata(
        "iresnet_tiny", {"norm": "batch"}, DIM, PixelFormat("bgr", scale=127.5), 7, {"steps": 3}
    )


@pytest.fixture(scope="module")
def model_dir(backbone, metadata, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("export") / "model")
    export.export_saved_model(backbone, path, metadata)
    return path


def test_signature_answers_normalised_embeddings_and_raw_norms(model_dir, backbone, metadata):
    images = tf.constant([jpeg(1), jpeg(2), jpeg(3)])
    answer = tf.saved_model.load(model_dir).signatures[signatures.SERVING](images)
    in_process = signatures.EmbeddingModel(backbone, metadata.pixel_format)
    raw = in_process.verify(images)["raw"].numpy()
    norms = np.linalg.norm(raw, axis=1)
    assert answer["embedding"].shape == (3, DIM)
    np.testing.assert_allclose(answer["norm"], norms, rtol=1e-5)
    np.testing.assert_allclose(answer["embedding"], raw / norms[:, None], atol=1e-6)


def test_verification_signature_mirrors_pixels(model_dir):
    import io

    from PIL import Image, ImageOps

    image = Image.open(io.BytesIO(jpeg(4)))
    buffers = [io.BytesIO(), io.BytesIO()]
    image.save(buffers[0], "PNG")  # lossless, so that mirroring before or after decoding is the same
    ImageOps.mirror(image).save(buffers[1], "PNG")
    answer = tf.saved_model.load(model_dir).signatures[signatures.VERIFICATION](
        tf.constant([buffer.getvalue() for buffer in buffers])
    )
    np.testing.assert_allclose(answer["raw"][0], answer["raw_mirrored"][1], atol=1e-5)
    np.testing.assert_allclose(answer["raw"][1], answer["raw_mirrored"][0], atol=1e-5)
    assert not np.allclose(answer["raw"][0], answer["raw"][1], atol=1e-2)


def test_embedding_of_an_image_does_not_depend_on_its_batch(model_dir):
    signature = tf.saved_model.load(model_dir).signatures[signatures.SERVING]
    together = signature(tf.constant([jpeg(i) for i in range(5)]))["embedding"].numpy()
    alone = signature(tf.constant([jpeg(3)]))["embedding"].numpy()
    np.testing.assert_allclose(alone[0], together[3], atol=1e-6)


def test_metadata_survives(model_dir, metadata):
    assert export.ModelMetadata.read(f"{model_dir}/{export.EXTRA}") == metadata


def test_warmup_requests_are_logs_that_the_signature_answers(model_dir):
    signature = tf.saved_model.load(model_dir).signatures[signatures.SERVING]
    path = f"{model_dir}/{export.EXTRA}/{export.WARMUP_FILE}"
    sizes = []
    for record in tf.data.TFRecordDataset(path):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == export.MODEL_NAME
        assert request.model_spec.signature_name == signatures.SERVING
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        answer = signature(**inputs)
        sizes.append(answer["embedding"].shape[0])
    assert sizes == [1, 8]


def test_check_passes_what_was_exported_and_stops_what_was_not(model_dir, backbone, metadata, tmp_path):
    assert check.check_embeddings(model_dir) <= check.TOLERANCE
    other = str(tmp_path / "other")
    export.export_saved_model(
        backbone, other, export.ModelMetadata("iresnet_tiny", {}, DIM, PixelFormat("rgb", scale=127.5), 7, {})
    )
    reference = f"{export.EXTRA}/{export.REFERENCE_FILE}"
    tf.io.gfile.copy(f"{model_dir}/{reference}", f"{other}/{reference}", overwrite=True)  # of the BGR model
    with pytest.raises(check.EmbeddingMismatchError, match="Received: .*largest difference"):
        check.check_embeddings(other)


def test_push_appears_whole_under_a_new_number(model_dir, tmp_path):
    verification = tmp_path / "verification.json"
    verification.write_text(json.dumps({"sets": {"lfw": {"threshold": 1.5}, "cfp_fp": {"threshold": 1.7}}}))
    base = tmp_path / "serving" / "arcface"
    version = pusher.push(model_dir, str(base), str(verification))
    assert [path.name for path in base.iterdir()] == [version]
    model = local.LocalModel(str(base))
    assert model.path.endswith(version)
    assert model.threshold() == 1.5
    assert model.threshold("cfp_fp") == 1.7
    with pytest.raises(DataError, match="Received: 'agedb_30'"):
        model.threshold("agedb_30")


def test_local_model_embeds_and_verifies(model_dir, tmp_path):
    paths = []
    for i in range(2):
        paths.append(str(tmp_path / f"{i}.jpg"))
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(i))
    model = local.LocalModel(model_dir)
    answer = model.embed(paths)
    np.testing.assert_allclose(np.linalg.norm(answer.embeddings, axis=1), 1, atol=1e-6)
    same = model.verify(paths[0], paths[0], threshold=0.1)
    assert same.same
    assert same.cosine == pytest.approx(1)
    assert same.cosine_threshold == pytest.approx(0.95)
    assert not model.verify(paths[0], paths[1], threshold=0.0).same


def test_local_model_names_what_is_no_image_or_no_model(model_dir, tmp_path):
    text = tmp_path / "a.jpg"
    text.write_text("not an image")
    with pytest.raises(DataError, match=r"a\.jpg: expected a JPEG or PNG"):
        local.LocalModel(model_dir).embed([str(text)])
    text.write_bytes(jpeg(1)[:200])
    with pytest.raises(DataError, match=r"a\.jpg: expected a whole JPEG or PNG"):
        local.LocalModel(model_dir).embed([str(text)])
    with pytest.raises(DataError, match="expected a SavedModel or a folder of numbered versions"):
        local.LocalModel(str(tmp_path))


@pytest.mark.parametrize("name", ["model [v1]", "m*", "m?", "back\\slash"])
def test_a_models_folder_may_be_called_anything(model_dir, tmp_path, name):
    shutil.copytree(model_dir, tmp_path / name)
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    expected = local.LocalModel(model_dir).embed([str(tmp_path / "a.jpg")]).embeddings
    received = local.LocalModel(str(tmp_path / name)).embed([str(tmp_path / "a.jpg")]).embeddings
    np.testing.assert_allclose(received, expected, atol=1e-6)
    assert check.check_embeddings(str(tmp_path / name)) <= check.TOLERANCE


def test_a_training_runs_folder_may_be_called_anything(backbone, tmp_path):
    folder = tmp_path / "run [v1]*"
    tf.train.Checkpoint(backbone=backbone).write(checkpoints.path_in(str(folder)))
    other = backbones.build("iresnet_tiny", embedding_dim=DIM)
    checkpoints.read_backbone(other, str(folder))
    for one, two in zip(backbone.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one, two)
