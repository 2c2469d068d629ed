"""Places and names that a configuration takes, and those that it refuses."""

import pytest

from arcface_common.errors import ConfigError, DataError
from pipeline.checks.places import check_image, check_vertex_places
from pipeline.config import make_config


@pytest.mark.parametrize("root", ["/runs/[v1]", "runs/a*", "/r?", "/r]", "/a\\b", "/a\nb", "/a\x7f"])
@pytest.mark.parametrize("here", [True, False])
def test_a_root_that_would_be_taken_for_a_pattern_is_refused(root, here):
    with pytest.raises(DataError, match="root must be a path without .* Received: '"):
        make_config("data", root, "demo", here=here)


@pytest.mark.parametrize(("data", "here"), [("s3://faces/[v1]", True), ("gs://b/v*", True), ("/mnt/faces [v1]", False)])
def test_a_data_set_that_others_look_for_by_patterns_is_refused(data, here):
    with pytest.raises(DataError, match="data must be a path without .* Received: '"):
        make_config(data, "/root", "demo", here=here)


def test_other_names_are_taken():
    assert make_config("faces [v1]*?", "/runs/a b,c#d%41{é}'$!", "demo").data == "faces [v1]*?"
    with pytest.raises(DataError, match="root must be a folder on this machine. Received: 'gs://b/r'"):
        make_config("data", "gs://b/r", "demo")
    assert make_config("s3://b/faces", "gs://b/r", "demo", here=False).root == "gs://b/r"
    assert make_config("s3://b/faces", "s3://b/r", "demo", here=False).root == "s3://b/r"
    with pytest.raises(
        DataError, match="root must be s3://BUCKET, gs://BUCKET, or a folder of a vol.* Received: 'hdfs://b/r'"
    ):
        make_config("s3://b/faces", "hdfs://b/r", "demo", here=False)


@pytest.mark.parametrize("name", ["data", "root"])
def test_pods_get_absolute_paths_that_nothing_replaces(name):
    sound = {"data": "gs://b/faces", "root": "/mnt/runs"}
    assert make_config(**sound, preset="demo", here=False).root == "/mnt/runs"
    with pytest.raises(DataError, match=f"{name} must be a URI or an absolute path of every pod. Received: 'runs/a'"):
        make_config(**sound | {name: "runs/a"}, preset="demo", here=False)
    with pytest.raises(DataError, match=f"{name} must be a path without {{{{, which Kubeflow replaces. Received: "):
        make_config(**sound | {name: "gs://b/{{$.x}}"}, preset="demo", here=False)


@pytest.mark.parametrize("root", ["/", "//", "/mnt/..", "/mnt/../..", "gs://", "s3://", "gs:///runs"])
def test_a_root_of_pods_names_a_bucket_or_a_folder(root):
    with pytest.raises(DataError, match=r"root must be s3://BUCKET, gs://BUCKET, or a folder of a vol.* Received: "):
        make_config("gs://b/faces", root, "demo", here=False)


@pytest.mark.parametrize("place", ["/gcs/../mnt/faces", "/gcs/", "/gcs/.", "/gcs/b/../../etc", "gs://", "gs:///faces"])
def test_places_on_vertex_are_read_as_a_pod_reads_them(place):
    with pytest.raises(DataError, match=r"data must be a URI, or /gcs/BUCKET/\.\.\.: .* Received: "):
        check_vertex_places(place, "gs://b/r")
    check_vertex_places("/gcs//b/./faces", "gs://b/r")
    with pytest.raises(DataError, match=r"root must be gs://BUCKET: Vertex keeps no artifacts elsewhere"):
        check_vertex_places("gs://b/faces", "gs://")


def test_steps_of_vertex_have_buckets_and_no_volumes():
    check_vertex_places("gs://b/faces", "gs://b/r")
    check_vertex_places("/gcs/b/faces", "gs://b/r")
    with pytest.raises(
        DataError, match="root must be gs://BUCKET: Vertex keeps no artifacts elsewhere. Received: '/mnt/r'"
    ):
        check_vertex_places("gs://b/faces", "/mnt/r")
    with pytest.raises(DataError, match="data must be a URI, or /gcs/BUCKET/.* Received: '/mnt/faces'"):
        check_vertex_places("/mnt/faces", "gs://b/r")


@pytest.mark.parametrize("image", ["arcface", "h.io:5000/a/b_c:1.0-x", "REG.io/arc", "a/b@sha256:" + "0" * 64])
def test_names_of_images(image):
    check_image(image)


@pytest.mark.parametrize("image", ["", "x y;rm -rf $(HOME)", "a:b:c", "a/B", "-a", "a@sha256:12", "a\n", "ä"])
def test_what_is_no_name_of_an_image(image):
    with pytest.raises(ConfigError, match="image: expected .HOST/.NAME.* Received: "):
        check_image(image)


@pytest.mark.parametrize("name", ["l*w", "../lfw", "lfw[1]", "a b", ""])
def test_names_of_sets_are_no_patterns_and_no_paths(name):
    with pytest.raises(ConfigError, match="evaluation.sets must be names of <set>.bin files"):
        make_config("data", "root", "demo", [f"evaluation.sets=['{name}']"])


def test_a_root_is_no_file(tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(DataError, match="root=.*root: expected a folder, or a path where nothing is yet"):
        make_config(str(tmp_path), str(tmp_path / "root"), "demo")
