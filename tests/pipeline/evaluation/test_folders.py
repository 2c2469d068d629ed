"""Folders of faces, one an identity: what is read, how it is split, and what comes out."""

import io
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from arcface_common.errors import DataError
from arcface_common.features import PixelFormat
from pipeline.cli import main
from pipeline.evaluation.folders import embed_faces, evaluate_folder, evaluate_gallery, read_faces
from tests.helpers import jpeg
from tests.pipeline.evaluation.people import Pixels, darker, person, write
from tests.processes import cli


@pytest.fixture
def faces(tmp_path) -> Path:
    """Twenty people of two images, and five of one."""
    people = {f"p{seed:02d}": person(seed, 2 if seed < 20 else 1) for seed in range(25)}
    return write(tmp_path / "faces", people)


def test_a_file_that_grew_since_it_was_found_is_named(tmp_path):
    faces = read_faces(str(write(tmp_path / "faces", {"Ann": person(0)})))
    with open(faces.paths[1], "ab") as file:
        file.truncate(10**12)
    with pytest.raises(DataError, match=rf"{faces.paths[1].name}: expected a file of at most 135,266,304 bytes"):
        embed_faces(Pixels(), faces)


def test_all_pairs_and_the_split(faces):
    figures = evaluate_folder(Pixels(), str(faces))
    verification, search = figures.verification, figures.identification
    assert (verification.genuine, verification.impostor) == (20, 45 * 44 // 2 - 20)
    assert verification.auc == 1 and verification.tar_at_far[0.01] == 1
    assert (search.identities, search.mated, search.nonmated) == (20, 20, 5)
    assert search.rank_rates == {1: 1, 5: 1}
    assert search.tpir_at_fpir == {0.1: None, 0.01: None, 0.001: None}  # 5 unknowns can't tell
    assert figures.lines() == [
        "1:1, all pairs of 45 images of 25 identities: 20 same, 970 different",
        "FAR      TAR      cosine threshold",
        f"0.1      1.0000   {verification.threshold_at_far[0.1]:.4f}",
        f"0.01     1.0000   {verification.threshold_at_far[0.01]:.4f}",
        "0.001    -        -",
        "0.0001   -        -",
        "1e-05    -        -",
        "1e-06    -        -",
        "AUC 1.000000, EER 0.0000",
        "",
        "1:N, 20 identities: 20 probes of them, 5 of unknowns (identities of one image)",
        "rank-1 1.0000, rank-5 1.0000",
        "FPIR     TPIR     cosine threshold",
        "0.1      -        -",
        "0.01     -        -",
        "0.001    -        -",
        "-  TAR@FAR=0.001: needs 1,000 pairs of different people; there are 970",
        "-  TPIR@FPIR=0.1: needs 10 probes of unknowns; there are 5",
    ]
    values = json.loads(json.dumps(figures.to_dict()))
    assert values["identification"]["rank_rates"]["1"] == 1
    assert values["verification"]["threshold_at_far"]["0.1"] == verification.threshold_at_far[0.1]


def test_every_fifth_identity_is_unknown_where_none_has_a_single_image(tmp_path):
    write(tmp_path, {f"p{seed:02d}": person(seed, 3) for seed in range(20)})
    figures = evaluate_folder(Pixels(), str(tmp_path))
    search = figures.identification
    assert (search.identities, search.mated, search.nonmated) == (16, 32, 12)
    assert search.tpir_at_fpir == {0.1: 1, 0.01: None, 0.001: None}
    assert figures.unknowns == "every 5th identity"


def test_a_gallery_image_can_be_named(tmp_path):
    """Bo's images are of two people, Ann's first one and another: only the named one is like Bo's third."""
    ann, bo, other = jpeg(1), jpeg(2), jpeg(3)
    write(
        tmp_path,
        {
            "Ann": {"1.jpg": ann, "2.png": darker(ann)},
            "Bo": {"a.png": darker(darker(ann)), "x_Gallery.jpg": bo, "y.png": darker(bo)},
            "Cy": {"1.jpg": other},
        },
    )
    search = evaluate_folder(Pixels(), str(tmp_path)).identification
    assert (search.mated, search.nonmated) == (3, 1)
    assert search.rank_rates == {1: pytest.approx(2 / 3), 5: None}


@pytest.mark.parametrize("template", ["mean", "best"])
def test_gallery_against_probes(tmp_path, template):
    gallery = write(tmp_path / "gallery", {f"p{i:02d}": person(i, 2) for i in range(10)})
    probes = write(
        tmp_path / "probes",
        {f"p{i:02d}": {"z.png": darker(person(i, 2)["1.png"])} for i in range(5)}
        | {f"u{i:02d}": person(100 + i, 1) for i in range(20)},
    )
    figures = evaluate_gallery(Pixels(), str(gallery), str(probes), template)
    search, verification = figures.identification, figures.verification
    assert (search.identities, search.mated, search.nonmated) == (10, 5, 20)
    assert search.rank_rates == {1: 1, 5: 1}
    assert search.tpir_at_fpir == {0.1: 1, 0.01: None, 0.001: None}
    assert (verification.genuine, verification.impostor) == (5, 245)
    assert figures.lines()[0] == f"1:1, 25 probes with 10 identities of 20 images ({template}): 5 same, 245 different"


def test_what_tools_leave_behind_is_left_out_and_said(faces, capfd):
    expected = read_faces(str(faces))
    assert "left out" not in capfd.readouterr().err
    (faces / ".git").mkdir()
    (faces / "p00" / "Thumbs.db").write_bytes(b"x")
    assert read_faces(str(faces)) == expected
    assert f"{faces}: left out, no images: 2 (.git/, p00/Thumbs.db)" in capfd.readouterr().err
    assert expected.identities[:3] == ["p00", "p00", "p01"]


def test_an_identity_is_known_in_another_unicode_form(tmp_path):
    gallery = write(tmp_path / "g", {unicodedata.normalize("NFC", "Zoé"): person(1), "Bo": person(2)})
    probes = write(tmp_path / "p", {unicodedata.normalize("NFD", "Zoé"): {"x.png": darker(jpeg(1))}})
    search = evaluate_gallery(Pixels(), str(gallery), str(probes)).identification
    assert (search.mated, search.nonmated, search.rank_rates[1]) == (1, 0, 1)


def test_embeddings_are_those_of_all_images_in_order_whatever_is_embedded_at_a_time(faces, monkeypatch):
    read = read_faces(str(faces))
    whole = embed_faces(Pixels(), read)
    monkeypatch.setattr("pipeline.evaluation.folders._IMAGES_AT_A_TIME", 7)
    embedder = Pixels()
    np.testing.assert_array_equal(embed_faces(embedder, read), whole)
    assert embedder.embedded == len(read.paths) == len(whole)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)


def refused(folder: Path, pattern: str) -> None:
    with pytest.raises(DataError, match=pattern) as caught:
        evaluate_folder(Pixels(), str(folder))
    assert "Received: " in str(caught.value)


def test_bad_folders_are_named(tmp_path, faces):
    refused(tmp_path / "nowhere", "nowhere: expected a folder")
    (tmp_path / "none").mkdir()
    refused(tmp_path / "none", "none: expected one folder an identity with JPEG or PNG files. Received: no such file")
    write(tmp_path / "one", {"Ann": person(1)})
    refused(tmp_path / "one", "one: expected 2 identities or more.* Received: identities of 2 images")
    write(tmp_path / "single", {"Ann": person(1, 1), "Bo": person(2, 1)})
    refused(tmp_path / "single", "one of them with 2 images or more. Received: identities of 1, 1 images")
    (faces / "loose.png").write_bytes(darker(jpeg(1)))
    refused(faces, "loose.png: expected images in one folder an identity. Received: an image beside them")


@pytest.mark.parametrize(
    ("name", "data", "pattern"),
    [
        ("notes.jpg", b"notes", "expected a JPEG or PNG image. Received: bytes 6e 6f 74 65 73"),
        ("empty.jpg", b"", "expected a JPEG or PNG image. Received: bytes none"),
        ("half.jpeg", jpeg(1)[:900], "expected a whole JPEG or PNG. Received: "),
        ("half.png", darker(jpeg(1))[:900], "expected a whole JPEG or PNG. Received: "),
    ],
)
def test_a_file_that_is_no_whole_image_is_named(faces, name, data, pattern):
    (faces / "p03" / name).write_bytes(data)
    embedder = Pixels()
    with pytest.raises(DataError, match=f"p03/{name}: {pattern}"):
        evaluate_folder(embedder, str(faces))
    assert embedder.embedded == 0  # before minutes of work


def test_a_gallery_that_knows_no_probe_is_refused(tmp_path):
    gallery = write(tmp_path / "g", {"Ann": person(1), "Bo": person(2)})
    probes = write(tmp_path / "p", {"Cy": person(3)})
    with pytest.raises(DataError, match=r"g: expected .* Received: 2, 0 of them there"):
        evaluate_gallery(Pixels(), str(gallery), str(probes))
    write(tmp_path / "small", {"Cy": person(3)})
    with pytest.raises(DataError, match=r"small: expected 2 identities or more.* Received: 1, 1 of them there"):
        evaluate_gallery(Pixels(), str(tmp_path / "small"), str(probes))


def test_equal_files_are_told(tmp_path, capfd):
    write(
        tmp_path,
        {
            "Ann": {"1.jpg": jpeg(1), "2.png": darker(jpeg(1))},
            "Bo": {"1.jpg": jpeg(1), "2.jpg": jpeg(2), "3.jpg": jpeg(2)},
        },
    )
    evaluate_folder(Pixels(), str(tmp_path))
    said = capfd.readouterr().err
    assert (
        f"warning: the same bytes as two identities, so often: 1 ({tmp_path}/Ann/1.jpg = {tmp_path}/Bo/1.jpg)\n" in said
    )
    assert (
        f"warning: the same bytes twice as one identity, so often: 1 ({tmp_path}/Bo/2.jpg = {tmp_path}/Bo/3.jpg)\n"
        in said
    )


def test_a_probe_that_is_in_the_gallery_is_told(tmp_path, capfd):
    gallery = write(tmp_path / "g", {"Ann": person(1), "Bo": person(2)})
    probes = write(tmp_path / "p", {"Ann": {"copy.jpg": jpeg(1)}})
    evaluate_gallery(Pixels(), str(gallery), str(probes))
    assert f"twice as one identity, so often: 1 ({gallery}/Ann/0.jpg = {probes}/Ann/copy.jpg)" in capfd.readouterr().err


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_an_image_without_an_embedding_is_named(faces, value):
    class Broken(Pixels):
        def embed(self, images, bar=None):
            raw, mirrored = super().embed(images, bar)
            raw[5] = mirrored[5] = value
            return raw, mirrored

    with pytest.raises(DataError, match="p02/1.png: expected finite embeddings"):
        evaluate_folder(Broken(), str(faces))


def _model_folder(path):
    """A folder that looks like a SavedModel's."""
    path.mkdir(exist_ok=True)
    (path / "saved_model.pb").touch()
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sets", "."), "Missing option '--data'"),
        (("folder", "."), "Missing argument 'FOLDER'"),
        (("search", ".", "--gallery", "."), "Missing option '--probes'"),
        (("folder", ".", ".", "--template", "best"), "No such option"),
        (("folder", ".", ".", "--compare", "."), "No such option"),
        ((".", "--data", "."), "No such command"),
    ],
)
def test_the_command_refuses_what_it_would_ignore(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(_model_folder(tmp_path))
    result = CliRunner().invoke(main, ["evaluate", *arguments])
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.slow
def test_by_the_command_line(tmp_path, faces):
    from arcface_common.model_metadata import ModelMetadata
    from serving import export
    from trainer_module import backbones

    model = tmp_path / "model"
    metadata = ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {})
    export.export_saved_model(backbones.build("iresnet_tiny", embedding_dim=16), str(model), metadata)

    output = ["--output", str(tmp_path / "out.json")]
    result = cli(
        "evaluate", "folder", str(model), str(faces), *output, "--report", str(tmp_path / "pages" / "page.html")
    )
    assert result.returncode == 0, result.stderr
    assert "1:1, all pairs of 45 images of 25 identities: 20 same, 970 different" in result.stdout
    values = json.loads((tmp_path / "out.json").read_text())
    assert 0 < values["verification"]["auc"] <= 1
    assert values["identification"]["nonmated"] == 5
    page = (tmp_path / "pages" / "page.html").read_text()
    assert f"{faces}, 45 images of 25 identities, digest " in page
    assert str(model) in page
    result = cli(
        "evaluate", "search", str(model), "--gallery", str(faces), "--probes", str(faces), "--template", "best", *output
    )
    assert result.returncode == 0, result.stderr
    values = json.loads((tmp_path / "out.json").read_text())
    assert values["identification"]["rank_rates"]["1"] == 1  # the probes are the gallery's own images


def test_nothing_is_written_over_what_is_read(faces, tmp_path, capfd):
    _model_folder(tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text("{}")
    command = ["evaluate", "folder", str(tmp_path / "model"), str(faces)]
    for more, message in (
        (["--output", f"{tmp_path}/model/model.json"], f"expected a file outside of '{tmp_path}/model', which is read"),
        (["--report", str(faces / "p00" / "0.jpg")], "expected a name that ends in .html or .htm. Received: .jpg"),
    ):
        result = CliRunner().invoke(main, [*command, *more])
        assert (result.exit_code, message in result.output + capfd.readouterr().err) == (2, True)
    assert (tmp_path / "model" / "model.json").read_text() == "{}"


@pytest.mark.parametrize("option", ["--report", "--output"])
def test_nothing_is_written_among_the_faces(faces, tmp_path, option, capfd):
    ending = {"--report": "html", "--output": "json"}[option]
    model = _model_folder(tmp_path / "model")
    result = CliRunner().invoke(main, ["evaluate", "folder", str(model), str(faces), option, f"{faces}/x.{ending}"])
    assert result.exit_code == 2
    assert f"{option}: expected a file outside of '{faces}', which is read" in result.output + capfd.readouterr().err


def test_a_photo_of_another_size_is_named_and_may_be_resized(faces):
    path = faces / "p03" / "0.jpg"
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480), (9, 99, 199)).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(
        DataError, match=rf"{path}: expected an aligned face of 112x112 pixels .--align takes .* 640x480"
    ):
        evaluate_folder(Pixels(), str(faces))
    with pytest.raises(DataError, match="expected an aligned face of 112x112 pixels"):
        evaluate_gallery(Pixels(), str(faces), str(faces))
    assert evaluate_folder(Pixels(), str(faces), resize=True).verification.genuine == 20
    assert evaluate_gallery(Pixels(), str(faces), str(faces), resize=True).identification.mated == 45


def test_images_that_cannot_be_used_are_named_together_or_left_out(faces, capfd):
    for name in ("p00/bad.jpg", "p01/text.png"):
        (faces / name).write_bytes(b"text")
    with pytest.raises(
        DataError, match=r"^2 of the images can't be used .--skip-bad .*p00/bad.jpg, .*p01/text.png: exp"
    ):
        read_faces(str(faces))
    whole = read_faces(str(faces), skip_bad=True)
    assert {path.name for path in whole.paths}.isdisjoint(("bad.jpg", "text.png"))
    said = capfd.readouterr().err
    assert f"{faces}: left out, images that can't be used: 2\n" in said
    assert "p01/text.png: expected a JPEG or PNG image" in said
