"""The exported signatures, by what clients send: good images, bad ones among them, photos with landmarks, pairs."""

import io
import math
import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from skimage.transform import SimilarityTransform

from arcface_common.image_pixels import decode
from components.alignment import crop as host
from components.alignment.template import TEMPLATE, similarity
from serving import aligning, signatures
from tests.closeness import assert_close
from tests.components.alignment.marks import photo
from tests.helpers import exif, jpeg, with_exif


@pytest.fixture(scope="module")
def loaded(model_dir):
    return tf.saved_model.load(model_dir)


@pytest.fixture(scope="module")
def served(loaded):
    return lambda name, **inputs: {
        key: value.numpy()
        for key, value in loaded.signatures[name](**{k: tf.constant(v) for k, v in inputs.items()}).items()
    }


def png_of(width, height):
    """A PNG whose header says this size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = io.BytesIO()
    Image.new("RGB", (112, 112)).save(whole, "PNG")
    return whole.getvalue()[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole.getvalue()[33:]


BAD = {
    "empty": b"",
    "text": b"no image",
    "JPEG cut": jpeg(1)[:900],
    "JPEG of one byte": b"\xff",
    "PNG of 2^62 pixels": png_of(2**31, 2**31),
    "PNG of 4,097 x 4,096 pixels": png_of(4097, 4096),
    "PNG whose pixels are missing": png_of(112, 113),
    "GIF": b"GIF89a" + bytes(40),
}


def points(scale=1.0, angle=0.2, shift=(60.0, 40.0)):
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (TEMPLATE @ turn.T + shift).astype(np.float32)


def test_a_model_has_the_five_signatures_with_these_names_and_types(loaded):
    described = {
        name: (
            {key: (spec.dtype.name, spec.shape.as_list()) for key, spec in f.structured_input_signature[1].items()},
            {key: (spec.dtype.name, spec.shape.as_list()) for key, spec in f.structured_outputs.items()},
        )
        for name, f in loaded.signatures.items()
    }
    text, answer = ("string", [None]), {
        "embedding": ("float32", [None, 16]), "norm": ("float32", [None]), "valid": ("bool", [None])
    }  # fmt: skip
    raw = ("float32", [None, 16])
    assert described == {
        "serving_default": ({"image_bytes": text}, answer),
        "embed_pixels": ({"pixels": ("uint8", [None, 112, 112, 3])}, answer),
        "align_and_embed": ({"image_bytes": text, "landmarks": ("float32", [None, 5, 2])}, answer),
        "verification": ({"image_bytes": text}, {"raw": raw, "raw_mirrored": raw, "valid": ("bool", [None])}),
        "similarity": (
            {"image_a_bytes": text, "image_b_bytes": text},
            {"cosine": ("float32", [None]), "valid": ("bool", [None])},
        ),
    }


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("name", ["serving_default", "verification", "align_and_embed", "similarity"])
def test_a_bad_image_fails_no_other(served, name, bad):
    good = [jpeg(0), jpeg(1), jpeg(2)]
    more = {"landmarks": [points(0.8, shift=(30, 0))] * 4} if name == "align_and_embed" else {}

    def answer(images):
        if name == "similarity":
            return served(name, image_a_bytes=images, image_b_bytes=[jpeg(5)] * len(images))
        return served(name, image_bytes=images, **{key: value[: len(images)] for key, value in more.items()})

    found, expected = answer([good[0], bad, *good[1:]]), answer(good)
    assert found.pop("valid").tolist() == [True, False, True, True]
    assert expected.pop("valid").all()
    for key, values in found.items():
        assert not values[1].any()
        assert_close(np.delete(values, 1, axis=0), expected[key])


@pytest.mark.parametrize("images", [[], [b""], [b"", b"x"]])
def test_batches_without_a_good_image(served, images):
    answer = served("serving_default", image_bytes=np.array(images, object))
    assert answer["valid"].tolist() == [False] * len(images)
    assert answer["embedding"].shape == (len(images), 16)
    assert not answer["embedding"].any() and not answer["norm"].any()


def test_pixels_are_embedded_as_their_png_is(served):
    pixels = np.stack([decode(jpeg(seed)) for seed in range(3)])
    files = [io.BytesIO() for _ in pixels]
    for image, file in zip(pixels, files, strict=True):
        Image.fromarray(image).save(file, "PNG")
    by_bytes = served("serving_default", image_bytes=[file.getvalue() for file in files])
    by_pixels = served("embed_pixels", pixels=pixels)
    for key in by_bytes:
        assert_close(by_pixels[key], by_bytes[key])


def test_similarity_is_the_protocols_cosine(served):
    a, b = [jpeg(0), jpeg(1)], [jpeg(2), jpeg(1)]
    sums = [(lambda v: v["raw"] + v["raw_mirrored"])(served("verification", image_bytes=images)) for images in (a, b)]
    units = [both / np.linalg.norm(both, axis=1, keepdims=True) for both in sums]
    answer = served("similarity", image_a_bytes=a, image_b_bytes=b)
    np.testing.assert_allclose(answer["cosine"], (units[0] * units[1]).sum(axis=1), atol=1e-5)
    assert answer["cosine"][1] == pytest.approx(1, abs=1e-5)
    assert answer["cosine"][0] < 0.999


def test_pairs_must_be_pairs(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many images in one as in the other"):
        served("similarity", image_a_bytes=[jpeg(0)] * 3, image_b_bytes=[jpeg(0)])


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("noise", [0.0, 6.0])
def test_the_transform_is_scikit_images_estimate(scale, noise):
    random = np.random.default_rng(0)
    faces = np.stack([points(scale, angle, (300, -40)) for angle in (-3.0, -1.0, 0.0, 0.1, 2.0)])
    faces = (faces + random.normal(0, noise, faces.shape)).astype(np.float32)
    expected = [SimilarityTransform.from_estimate(face.astype(float), TEMPLATE).params[:2] for face in faces]
    received = aligning.similarities(tf.constant(faces)).numpy()
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(received, [similarity(face) for face in faces], atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.3, 1.9])
def test_a_crop_is_opencvs_warp(scale):
    pixels = decode(photo(1, 300, 280, seed=4))
    matrix = similarity(points(scale))
    expected = cv2.warpAffine(pixels, matrix, (112, 112), borderValue=0.0)
    difference = np.abs(aligning.crop(tf.constant(pixels), tf.constant(matrix)).numpy().astype(int) - expected)
    # OpenCV looks at places rounded to 1/32 of a pixel; across the black border that is up to 8 of 255 levels.
    assert difference.max() <= 9
    assert difference.mean() < 0.3


@pytest.mark.parametrize(
    "scale, shift",
    [(0.5, (60, 40)), (1.9, (-80, 3)), (2.4, (5, 5)), (5.0, (-40, 90)), (9.7, (0, 0)), (40.0, (-900, -700)),
     (1.0, (1e6, 0)), (3.0, (1e9, -1e9)), (1e5, (-5e6, -5e6)), (1e-3, (50, 50))],
)  # fmt: skip
def test_a_crop_is_the_hosts(scale, shift):
    pixels = np.random.default_rng(0).integers(0, 256, (613, 717, 3), dtype=np.uint8)  # nothing is smooth
    matrix = similarity(points(scale, 0.4, shift))
    received = aligning.crop(tf.constant(pixels), tf.constant(matrix)).numpy()
    np.testing.assert_allclose(received.astype(int), host.crop(pixels, matrix), atol=1)


def test_a_photo_is_aligned_as_on_the_host(served):
    photos = [photo(1, 300, 280, seed=4), photo(1, 900, 1100, seed=5)]
    landmarks = [points(1.3), points(5.3, -0.3, (150, 300))]
    crops = [host.crop(decode(one), similarity(where)) for one, where in zip(photos, landmarks, strict=True)]
    expected = served("embed_pixels", pixels=np.stack(crops))
    received = served("align_and_embed", image_bytes=photos, landmarks=landmarks)
    assert received["valid"].all()
    # A level of 255 here and there, to a network of random weights: 0.005 was seen.
    assert np.linalg.norm(received["embedding"] - expected["embedding"], axis=1).max() < 1e-2


def test_landmarks_are_those_of_the_upright_photo(served):
    stored = Image.open(io.BytesIO(photo(1, 300, 280, seed=4)))
    file = io.BytesIO()
    stored.save(file, "PNG")
    turned = with_exif(file.getvalue(), exif(6))  # a quarter turn clockwise
    upright = io.BytesIO()
    ImageOps.exif_transpose(Image.open(io.BytesIO(turned))).save(upright, "PNG")
    answer = served(
        "align_and_embed", image_bytes=[turned, upright.getvalue(), file.getvalue()], landmarks=[points()] * 3
    )
    assert_close(answer["embedding"][0], answer["embedding"][1])
    assert np.abs(answer["embedding"][0] - answer["embedding"][2]).max() > 0.01


@pytest.mark.parametrize(
    "bad",
    [
        np.full((5, 2), 7),
        np.full((5, 2), np.nan),
        np.full((5, 2), np.inf),
        np.zeros((5, 2)),
        points() / 300,  # in shares of the photo
        points() + 5000,
        points(shift=(280, 40)),  # two thirds outside
        points()[:, ::-1],  # y, x
        points()[[1, 0, 2, 3, 4]],  # the other eye first
        points()[[1, 0, 2, 4, 3]],  # mirrored
        points() * 1e-3 + 100,
    ],
)
def test_landmarks_of_no_face_fail_no_other(served, bad):
    photos = [photo(1, 300, 280, seed=4)] * 2
    answer = served("align_and_embed", image_bytes=photos, landmarks=[bad.astype(np.float32), points()])
    assert answer["valid"].tolist() == [False, True]
    assert not answer["embedding"][0].any()


@pytest.mark.parametrize(
    "good",
    [
        points(shift=(-40, 40)),  # a third outside
        points() * [0.5, 1],  # seen from the side
        points() / 10 + 100,  # 11 pixels wide
        points(2.0, 1.5, (250, 0)),
    ],
)
def test_landmarks_of_a_face_are_taken(served, good):
    answer = served("align_and_embed", image_bytes=[photo(1, 300, 280)], landmarks=[good.astype(np.float32)])
    assert answer["valid"].tolist() == [True]


def test_likeness_is_the_share_of_the_template_that_the_transform_explains():
    random = np.random.default_rng(0)
    faces = points() + random.normal(0, 20, (6, 5, 2))
    mapped = [SimilarityTransform.from_estimate(face, TEMPLATE)(face) for face in faces]
    left = [((TEMPLATE - one) ** 2).sum() for one in mapped]
    whole = ((TEMPLATE - TEMPLATE.mean(axis=0)) ** 2).sum()
    np.testing.assert_allclose(aligning.likeness(tf.constant(faces)), 1 - np.array(left) / whole, rtol=1e-9)


def test_the_largest_landmarks_take_no_memory(served):
    far = points() * np.float32(1e35)
    answer = served("align_and_embed", image_bytes=[photo(1, 300, 280)] * 2, landmarks=[far, points()])
    assert answer["valid"].tolist()[1]
    assert np.isfinite(answer["embedding"]).all()


def test_signatures_answer_in_a_session_as_tf_serving_runs_them(model_dir, served):
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        described = tf.compat.v1.saved_model.load(session, ["serve"], model_dir).signature_def[signatures.SERVING]
        answer = session.run(
            {key: tensor.name for key, tensor in described.outputs.items()},
            {described.inputs["image_bytes"].name: [jpeg(0), b"x", jpeg(2)]},
        )
    expected = served("serving_default", image_bytes=[jpeg(0), b"x", jpeg(2)])
    for key, value in answer.items():
        assert_close(value, expected[key])
