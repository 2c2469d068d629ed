"""Export, the check before a push, and the push itself, on a real small backbone."""

import dataclasses
import functools
import io
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image, ImageOps
from tensorflow_serving.apis import prediction_log_pb2

from arcface_common.artifacts import EXTRA, METADATA_FILE, MODEL_NAME, REFERENCE_FILE, VERIFICATION_FILE, WARMUP_FILE
from arcface_common.errors import DataError
from arcface_common.features import PixelFormat
from arcface_common.image_pixels import decode
from arcface_common.model_metadata import ModelMetadata
from components.alignment import aligner
from components.alignment.settings import AlignSettings
from evaluator_custom.networks.foreign import EmbedderOptions, load_embedder
from pipeline.cli import main
from serving import check, export, local, pusher, signatures
from tests.closeness import assert_close
from tests.components.alignment import marks
from tests.helpers import jpeg
from trainer_module import backbones
from trainer_module.training import checkpoints

DIM = 16


@pytest.fixture(scope="module")
def backbone():
    return backbones.build("iresnet_tiny", embedding_dim=DIM)


@pytest.fixture(scope="module")
def metadata():
    return ModelMetadata("iresnet_tiny", {"norm": "batch"}, DIM, PixelFormat("bgr", scale=127.5), 7, {"steps": 3})


@pytest.fixture(scope="module")
def model_dir(backbone, metadata, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("export") / "model")
    export.export_saved_model(backbone, path, metadata)
    return path


@pytest.fixture(scope="module")
def model(model_dir):
    return local.LocalModel(model_dir)


def test_signature_answers_normalised_embeddings_and_raw_norms(model_dir, backbone, metadata):
    images = tf.constant([jpeg(1), jpeg(2), jpeg(3)])
    answer = tf.saved_model.load(model_dir).signatures[signatures.SERVING](images)
    in_process = signatures.EmbeddingModel(backbone, metadata.pixel_format)
    raw = in_process.verify(images)["raw"].numpy()
    norms = np.linalg.norm(raw, axis=1)
    assert answer["embedding"].shape == (3, DIM)
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
    assert check.check_embeddings(model_dir) <= check.TOLERANCE
    other = str(tmp_path / "other")
    export.export_saved_model(
        backbone, other, ModelMetadata("iresnet_tiny", {}, DIM, PixelFormat("rgb", scale=127.5), 7, {})
    )
    reference = f"{EXTRA}/{REFERENCE_FILE}"
    tf.io.gfile.copy(f"{model_dir}/{reference}", f"{other}/{reference}", overwrite=True)  # of the BGR model
    with pytest.raises(
        check.EmbeddingMismatchError,
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
    with pytest.raises(check.EmbeddingMismatchError, match=r"within 0\.0001\. Received: .*largest distance 0\.000"):
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


def test_local_model_embeds_and_verifies(model, tmp_path):
    paths = []
    for i in range(2):
        paths.append(str(tmp_path / f"{i}.jpg"))
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(i))
    answer = model.embed(paths)
    np.testing.assert_allclose(np.linalg.norm(answer.embeddings, axis=1), 1, atol=1e-6)
    same = model.verify(paths[0], paths[0], threshold=0.95)
    assert same.same
    assert same.cosine == pytest.approx(1)
    assert same.threshold.cosine == 0.95
    assert not model.verify(paths[0], paths[1], threshold=1.0).same


def test_two_faces_are_compared_with_their_mirrors(model, backbone, metadata, tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(2)]
    for i, path in enumerate(paths):
        path.write_bytes(jpeg(i))
    in_process = signatures.EmbeddingModel(backbone, metadata.pixel_format)
    answer = in_process.verify(tf.constant([jpeg(0), jpeg(1)]))
    raw, mirrored = answer["raw"].numpy().astype(np.float64), answer["raw_mirrored"].numpy().astype(np.float64)

    def cosine(pair):
        return pair[0] @ pair[1] / np.linalg.norm(pair[0]) / np.linalg.norm(pair[1])

    assert abs(cosine(raw + mirrored) - cosine(raw)) > 1e-3
    verdict = model.verify(*map(str, paths), threshold=1.0)
    assert verdict.cosine == pytest.approx(cosine(raw + mirrored), abs=1e-5)


@pytest.fixture
def photographs(tmp_path):
    """A face, lying on its side with an orientation that says so, and a photograph of 640x480."""
    face = Image.open(io.BytesIO(jpeg(0)))
    turn = Image.Exif()
    turn[0x0112] = 6
    face.save(tmp_path / "upright.png")
    face.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=turn)
    face.resize((640, 480)).save(tmp_path / "photo.png")
    return {path.stem: str(path) for path in tmp_path.glob("*.png")}


def test_a_face_is_turned_by_its_exif(model, photographs):
    upright, turned = model.embed([photographs["upright"], photographs["turned"]]).embeddings
    assert_close(turned, upright)
    assert model.verify(photographs["upright"], photographs["turned"], threshold=0.1).cosine > 0.999


def test_another_size_is_resized_only_where_that_is_asked_for(model, backbone, metadata, photographs, capsys):
    both = [photographs["upright"], photographs["photo"]]
    message = (
        r"photo\.png: expected an aligned 112x112 face \(--align takes photos, --resize other sizes\)\. "
        r"Received: 640x480 pixels"
    )
    with pytest.raises(DataError, match=message):
        model.embed(both)
    with pytest.raises(DataError, match=message):
        model.verify(*both, threshold=1.0)
    assert "resized" not in capsys.readouterr().err
    resized = model.embed(both, resize=True).embeddings
    assert "1 of 2 images resized to 112x112" in capsys.readouterr().err
    in_process = signatures.EmbeddingModel(backbone, metadata.pixel_format)
    images = [pathlib.Path(path).read_bytes() for path in both]
    assert_close(resized, in_process.serve(tf.constant(images))["embedding"])
    assert model.verify(*both, threshold=1.0, resize=True).cosine < 1


def test_photos_are_aligned_on_the_way(model, monkeypatch):
    marked = AlignSettings(detector="tests.components.alignment.marks:load")
    monkeypatch.setattr(aligner, "aligned", functools.partial(aligner.aligned, settings=marked))
    content = marks.photo(1, seed=3)
    [crop] = [entry.pixels for entry in aligner.aligned([content])]
    pixels = decode(content)
    refused = []
    found = model.embed([content, pixels, marks.photo(0)], align=True, on_bad=lambda *bad: refused.append(bad))
    assert found.positions.tolist() == [0, 1]
    assert_close(found.embeddings, np.repeat(model.embed([crop]).embeddings, 2, axis=0))
    [(position, error)] = refused
    assert position == 2
    assert str(error) == "image 2: expected a photo with a face that counts. Received: no face"
    assert model.verify(content, pixels, 0.5, align=True).same
    with pytest.raises(DataError, match="expected one of resize and align"):
        model.embed([content], align=True, resize=True)


def test_the_commands_resize_only_where_that_is_asked_for(model_dir, photographs, capfd):
    photo, upright = photographs["photo"], photographs["upright"]
    for arguments, code in (
        (["embed", model_dir, photo], 1),  # one image doesn't lose the others
        (["verify", model_dir, photo, upright, "--threshold", "1"], 2),
    ):
        refused = CliRunner().invoke(main, arguments)
        assert refused.exit_code == code
        assert (
            "expected an aligned 112x112 face (--align takes photos, --resize other sizes). Received: 640x480"
            in refused.output + capfd.readouterr().err
        )
        taken = CliRunner().invoke(main, [*arguments, "--resize"])
        assert taken.exit_code == 0, taken.output


def test_what_a_threshold_lacks_is_known_before_tensorflow_is_loaded(model_dir, photographs, tmp_path, capfd):
    shutil.copytree(model_dir, tmp_path / "model")
    evaluation = tmp_path / "model" / EXTRA / VERIFICATION_FILE
    evaluation.write_text(json.dumps({"sets": {"lfw": {"threshold": 1.5, "pairs": 600}}, "thresholds": {"lfw": {}}}))
    faces = [photographs["upright"]] * 2
    for arguments, message in (
        (
            [model_dir],
            "verification.json: expected the evaluation of a pushed model; or give --threshold. Received: no",
        ),
        ([str(tmp_path / "model"), "--set-name", "lwf"], "expected a set that has a threshold (lfw). Received: 'lwf'"),
        ([str(tmp_path / "model"), "--far", "0.01"], "expected a false accept rate of"),
        ([str(tmp_path)], "expected a SavedModel or a folder of numbered versions. Received: neither"),
    ):
        refused = CliRunner().invoke(main, ["verify", arguments[0], *faces, *arguments[1:]])
        said = refused.output + capfd.readouterr().err
        assert refused.exit_code == 2
        assert message in said
        assert "loading TensorFlow" not in said


def test_names_and_rows_tell_which_image_is_which(model_dir, photographs, tmp_path, capfd):
    face, odd = tmp_path / "face.jpg", tmp_path / os.fsdecode(b"\xff.jpg")
    for path in (face, odd):
        path.write_bytes(jpeg(0))
    images = [str(face), photographs["photo"], str(odd), str(face)]
    rows = tmp_path / "rows.npy"
    written = CliRunner().invoke(main, ["embed", model_dir, *images, "--output", str(rows)])
    assert written.exit_code == 1
    assert np.isnan(np.load(rows)).any(axis=1).tolist() == [False, True, False, False]
    told = written.output + capfd.readouterr().err
    assert "warning: images given more than once, each time embedded: 1\n" in told
    assert "warning: names that are not UTF-8, whose bytes are written as \\xNN: 1\n" in told
    answer = CliRunner().invoke(main, ["embed", model_dir, *images])
    assert [row["name"] for row in json.loads(answer.stdout)] == [str(face), f"{tmp_path}/\\xff.jpg", str(face)]


def test_the_limit_of_pixels_is_the_models(backbone, metadata, photographs, tmp_path):
    path = str(tmp_path / "model")
    export.export_saved_model(backbone, path, dataclasses.replace(metadata, max_image_pixels=300_000))
    described = json.loads((tmp_path / "model" / EXTRA / METADATA_FILE).read_text())
    assert (described["image_size"], described["max_image_pixels"]) == (112, 300_000)
    model = local.LocalModel(path)
    with pytest.raises(DataError, match=r"photo\.png: expected at most 300,000 pixels.* Received: 640x480 pixels"):
        model.embed([photographs["photo"]], resize=True)
    content = pathlib.Path(photographs["photo"]).read_bytes()
    for signature in tf.saved_model.load(path).signatures.values():
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"1 to 300000 pixels.*\[480 640\]"):
            signature(tf.constant([jpeg(0), content]))


def test_a_threshold_that_is_none_is_refused(model_dir, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    model = local.LocalModel(str(tmp_path / "model"))
    for found in (float("nan"), float("inf"), "abc", [1], True, -5, 4.5, 1e308):
        figures = json.dumps({"sets": {"lfw": {"threshold": found, "pairs": 600}}})
        (tmp_path / "model" / EXTRA / VERIFICATION_FILE).write_text(figures)
        with pytest.raises(
            DataError, match=r"verification\.json: set 'lfw': expected a threshold of 0\.\.4"
        ) as refused:
            model.threshold()
        assert str(refused.value).endswith(f"Received: {found!r}")


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


def test_more_bytes_than_a_picture_takes_are_refused_before_they_are_read(model_dir, tmp_path):
    huge = tmp_path / "huge.jpg"
    huge.write_bytes(jpeg(0))
    os.truncate(huge, 3 << 30)
    with pytest.raises(
        DataError, match=r"huge\.jpg: expected a file of at most 135,266,304 bytes.* 3,221,225,472 bytes"
    ):
        local.LocalModel(model_dir).embed([str(huge)])


def test_a_request_of_more_bytes_than_a_picture_takes_is_refused_before_decoding(backbone, metadata, tmp_path):
    path = str(tmp_path / "model")
    export.export_saved_model(backbone, path, dataclasses.replace(metadata, max_image_pixels=112 * 112))
    largest = 112 * 112 * 8 + 2**20
    for signature in tf.saved_model.load(path).signatures.values():
        assert signature(tf.constant([jpeg(0).ljust(largest, b"\0")]))
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"at most {largest} bytes each.*{largest + 1}"):
            signature(tf.constant([jpeg(0), jpeg(0).ljust(largest + 1, b"\0")]))


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
