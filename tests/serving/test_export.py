"""Export, the check before a push, and the push itself, on a real small backbone."""

import dataclasses
import io
import itertools
import json
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from tensorflow_serving.apis import prediction_log_pb2

from arcface_common.artifacts import EXTRA, METADATA_FILE, MODEL_NAME, REFERENCE_FILE, WARMUP_FILE
from arcface_common.errors import DataError
from arcface_common.features import PixelFormat
from arcface_common.filesystem import files_below
from arcface_common.model_metadata import ModelMetadata
from evaluator_custom.networks.foreign import EmbedderOptions, load_embedder
from serving import check, embedding_probes, export, local, pusher, signatures, versions
from serving.server.errors import ServingError
from serving.server.servable import Servable
from tests.arcface_common.test_paths import NO_FILES
from tests.closeness import assert_close
from tests.helpers import jpeg
from trainer_module import backbones
from trainer_module.literal_paths import load_saved_model
from trainer_module.training import checkpoints


def test_signature_answers_normalised_embeddings_and_raw_norms(model_dir, backbone, metadata):
    images = tf.constant([jpeg(1), jpeg(2), jpeg(3)])
    answer = tf.saved_model.load(model_dir).signatures[signatures.SERVING](images)
    in_process = signatures.EmbeddingModel(backbone, metadata.pixel_format)
    raw = in_process.verify(images)["raw"].numpy()
    norms = np.linalg.norm(raw, axis=1)
    assert answer["embedding"].shape == (3, metadata.embedding_dim)
    assert_close(answer["norm"], norms)
    assert_close(answer["embedding"], raw / norms[:, None])


def test_verification_signature_mirrors_pixels(model_dir):
    image = Image.open(io.BytesIO(jpeg(4)))
    buffers = [io.BytesIO(), io.BytesIO()]
    image.save(buffers[0], "PNG")  # lossless, so that mirroring before or after decoding is the same
    ImageOps.mirror(image).save(buffers[1], "PNG")
    answer = tf.saved_model.load(model_dir).signatures[signatures.VERIFICATION](
        tf.constant([buffer.getvalue() for buffer in buffers])
    )
    assert_close(answer["raw"][0], answer["raw_mirrored"][1])
    assert_close(answer["raw"][1], answer["raw_mirrored"][0])
    assert np.abs(answer["raw"][0] - answer["raw"][1]).max() > 0.01 * np.abs(answer["raw"][0]).max()


def test_embedding_of_an_image_does_not_depend_on_its_batch(model_dir):
    signature = tf.saved_model.load(model_dir).signatures[signatures.SERVING]
    together = signature(tf.constant([jpeg(i) for i in range(5)]))["embedding"].numpy()
    alone = signature(tf.constant([jpeg(3)]))["embedding"].numpy()
    assert_close(alone[0], together[3])


def test_metadata_survives(model_dir, metadata):
    assert ModelMetadata.read(f"{model_dir}/{EXTRA}") == metadata


def test_warmup_requests_are_logs_that_the_signature_answers(model_dir):
    signature = tf.saved_model.load(model_dir).signatures[signatures.SERVING]
    path = f"{model_dir}/{EXTRA}/{WARMUP_FILE}"
    sizes = []
    for record in tf.data.TFRecordDataset(path):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == MODEL_NAME
        assert request.model_spec.signature_name == signatures.SERVING
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        answer = signature(**inputs)
        sizes.append(answer["embedding"].shape[0])
    assert sizes == [1, 8]


def test_check_passes_what_was_exported_and_stops_what_was_not(model_dir, backbone, metadata, tmp_path):
    assert check.check_embeddings(model_dir) <= embedding_probes.TOLERANCE
    other = str(tmp_path / "other")
    export.export_saved_model(
        backbone,
        other,
        ModelMetadata("iresnet_tiny", {}, metadata.embedding_dim, PixelFormat("rgb", scale=127.5), 7, {}),
    )
    reference = f"{EXTRA}/{REFERENCE_FILE}"
    tf.io.gfile.copy(f"{model_dir}/{reference}", f"{other}/{reference}", overwrite=True)  # of the BGR model
    with pytest.raises(
        embedding_probes.EmbeddingMismatchError,
        match="expected the embeddings recorded at export.* Received: .*largest distance 1",
    ):
        check.check_embeddings(other)


def test_check_admits_the_rounding_of_kernels_and_no_more(model_dir, tmp_path):
    """The references are turned a little: by what another instruction set may do, and by more."""
    path = tmp_path / "model"
    shutil.copytree(model_dir, path)
    reference = path / EXTRA / REFERENCE_FILE
    recorded = np.load(reference)
    direction = np.random.default_rng(0).normal(size=recorded.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    np.save(reference, (recorded + 2e-5 * direction).astype(np.float32))
    assert check.check_embeddings(str(path)) == pytest.approx(2e-5, rel=0.5)
    np.save(reference, (recorded + 5e-4 * direction).astype(np.float32))
    with pytest.raises(
        embedding_probes.EmbeddingMismatchError, match=r"within 0\.0001\. Received: .*largest distance 0\.000"
    ):
        check.check_embeddings(str(path))


def test_push_appears_whole_under_a_new_number(model_dir, tmp_path):
    verification = tmp_path / "verification.json"
    thresholds = {"one_kind": None, "lfw": 1.5, "cfp_fp": 1.7}
    verification.write_text(
        json.dumps({"sets": {name: {"threshold": threshold, "pairs": 600.0} for name, threshold in thresholds.items()}})
    )
    base = tmp_path / "serving" / "arcface"
    version = pusher.push(model_dir, str(base), str(verification))
    assert [path.name for path in base.iterdir()] == [version]
    model = local.LocalModel(str(base))
    assert model.path.endswith(version)
    assert (model.threshold().cosine, model.threshold().pairs) == (0.25, 600)
    assert model.threshold("cfp_fp").cosine == pytest.approx(0.15)
    with pytest.raises(DataError, match="Received: 'agedb_30'"):
        model.threshold("agedb_30")
    with pytest.raises(DataError, match=r"a set that has a threshold \(cfp_fp, lfw\). Received: 'one_kind'"):
        model.threshold("one_kind")


@pytest.mark.parametrize(
    "field, value",
    [
        ("image_size", "x"), ("image_size", 0), ("max_image_pixels", 10**30), ("embedding_dim", 1.5), ("classes", True),
        ("options", 5), ("training", []), ("backbone", [1]), ("mean", float("nan")), ("mean", True), ("scale", 0),
        ("scale", "1"),
    ],
)  # fmt: skip
def test_an_entry_of_another_type_or_range_is_named(metadata, field, value, tmp_path):
    metadata.write(str(tmp_path))
    entries = json.loads((tmp_path / METADATA_FILE).read_text())
    (entries["pixel_format"] if field in ("mean", "scale") else entries)[field] = value
    (tmp_path / METADATA_FILE).write_text(json.dumps(entries))
    with pytest.raises(DataError, match=r"model\.json: expected what this project writes .* Received: .*" + field):
        ModelMetadata.read(str(tmp_path))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"backbone": 1}', "{"])
def test_a_broken_description_is_named(model_dir, content, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    (tmp_path / "model" / EXTRA / METADATA_FILE).write_text(content)
    with pytest.raises(DataError, match=r"model\.json: expected what this project writes about a model\. Received: "):
        local.LocalModel(str(tmp_path / "model"))


def test_a_broken_model_is_named(model_dir, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"\0broken")
    with pytest.raises(DataError, match=r"model: expected a whole SavedModel\. Received: "):
        local.LocalModel(str(tmp_path / "model"))


@pytest.mark.parametrize(
    "file, share",
    [
        ("saved_model.pb", 0.5),
        ("variables/variables.data-00000-of-00001", 0.5),
        ("variables/variables.index", None),
    ],
)
def test_a_model_that_is_cut_is_named_by_all_who_load_it(model_dir, tmp_path, file, share):
    shutil.copytree(model_dir, tmp_path / "model")
    path = tmp_path / "model" / file
    content = path.read_bytes()
    path.unlink()
    if share is not None:
        path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"model: expected a (whole )?SavedModel"):
        local.LocalModel(str(tmp_path / "model"))
    with pytest.raises(DataError, match=r"model: expected a (whole )?SavedModel"):
        load_embedder(str(tmp_path / "model"), EmbedderOptions())


def test_a_graph_that_is_cut_is_named_as_a_file(model_dir, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    os.truncate(tmp_path / "model" / "saved_model.pb", 1000)
    with pytest.raises(ServingError, match=rf"Cannot parse file {tmp_path}/model/saved_model\.pb: Error"):
        Servable(str(tmp_path / "model"))


def test_what_is_no_file_in_a_model_is_not_waited_for(model_dir, tmp_path):
    files = [os.path.relpath(path, model_dir) for path in files_below(model_dir)]
    assert {"saved_model.pb", "fingerprint.pb", "assets.extra/model.json"} < set(files)
    for number, (file, kind) in enumerate(itertools.product(files, ("a named pipe", "a socket", "a device"))):
        model = tmp_path / str(number)
        shutil.copytree(model_dir, model)
        (model / file).unlink()
        NO_FILES[kind](str(model / file))
        expected = rf"{re.escape(file)}: expected a file\. Received: {kind}"
        for load in (local.LocalModel, load_saved_model, lambda path: load_embedder(path, EmbedderOptions())):
            with pytest.raises(DataError, match=expected):
                load(str(model))
        with pytest.raises(ServingError, match=expected):
            Servable(str(model))
        shutil.rmtree(model)


def test_a_server_is_not_kept_from_the_version_before_a_damaged_one(tmp_path):
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
    os.mkfifo(tmp_path / "2" / "saved_model.pb")
    assert versions.find(str(tmp_path)) == str(tmp_path / "2")
    with pytest.raises(DataError, match="a named pipe"):
        versions.resolve(str(tmp_path))


def test_an_image_of_more_bytes_than_a_picture_takes_is_refused_before_decoding(backbone, metadata, tmp_path):
    path = str(tmp_path / "model")
    export.export_saved_model(backbone, path, dataclasses.replace(metadata, max_image_pixels=112 * 112))
    largest = 112 * 112 * 8 + 2**20
    answer = tf.saved_model.load(path).signatures[signatures.SERVING](
        tf.constant([jpeg(0), jpeg(0).ljust(largest + 1, b"\0"), jpeg(0).ljust(largest, b"\0"), jpeg(0, 113)])
    )
    assert answer["valid"].numpy().tolist() == [True, False, True, False]


@pytest.mark.parametrize("name", ["model [v1]", "m*", "m?", "back\\slash"])
def test_a_models_folder_may_be_called_anything(model_dir, tmp_path, name):
    shutil.copytree(model_dir, tmp_path / name)
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    expected = local.LocalModel(model_dir).embed([str(tmp_path / "a.jpg")]).embeddings
    received = local.LocalModel(str(tmp_path / name)).embed([str(tmp_path / "a.jpg")]).embeddings
    np.testing.assert_allclose(received, expected, atol=1e-6)
    assert check.check_embeddings(str(tmp_path / name)) <= embedding_probes.TOLERANCE


def test_a_training_runs_folder_may_be_called_anything(backbone, tmp_path):
    folder = tmp_path / "run [v1]*"
    tf.train.Checkpoint(backbone=backbone).write(checkpoints.path_in(str(folder)))
    other = backbones.build("iresnet_tiny", embedding_dim=backbone.output_shape[-1])
    checkpoints.read_backbone(other, str(folder))
    for one, two in zip(backbone.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one, two)
