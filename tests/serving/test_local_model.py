"""A model used in this process, and by the commands."""

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
from PIL import Image

from arcface_common.artifacts import EXTRA, METADATA_FILE, VERIFICATION_FILE
from arcface_common.errors import DataError
from arcface_common.image_pixels import decode
from components.alignment import aligner
from components.alignment.settings import AlignSettings
from pipeline.cli import main
from serving import export, local, signatures
from tests.closeness import assert_close
from tests.components.alignment import marks
from tests.helpers import jpeg


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
        r"photo\.png: expected an aligned 112x112 face \(align takes photos, resize other sizes\)\. "
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
            "verification.json: expected the evaluation of a pushed model; an import has none: give --threshold",
        ),
        ([str(tmp_path / "model"), "--set-name", "lwf"], "expected a set that has a threshold (lfw). Received: 'lwf'"),
        ([str(tmp_path / "model"), "--far", "0.01"], "expected a false accept rate of"),
        ([str(tmp_path)], "expected a SavedModel or a folder of numbered versions. Received: neither"),
    ):
        refused = CliRunner().invoke(main, ["verify", arguments[0], *faces, *arguments[1:]])
        said = refused.output + capfd.readouterr().err
        assert refused.exit_code == 2
        assert message in said
        assert f"loading {arguments[0]}" not in said


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
    with pytest.raises(DataError, match=r"photo\.png: expected an image of 1 to 300,000 pixels .* Received: 640x480"):
        model.embed([photographs["photo"]], resize=True)
    content = pathlib.Path(photographs["photo"]).read_bytes()
    loaded = tf.saved_model.load(path)
    for name in (signatures.SERVING, signatures.VERIFICATION):
        answer = loaded.signatures[name](tf.constant([jpeg(0), content]))
        assert answer["valid"].numpy().tolist() == [True, False]


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


def test_more_bytes_than_a_picture_takes_are_refused_before_they_are_read(model_dir, tmp_path):
    huge = tmp_path / "huge.jpg"
    huge.write_bytes(jpeg(0))
    os.truncate(huge, 3 << 30)
    with pytest.raises(
        DataError, match=r"huge\.jpg: expected a file of at most 135,266,304 bytes.* 3,221,225,472 bytes"
    ):
        local.LocalModel(model_dir).embed([str(huge)])


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
