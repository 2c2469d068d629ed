"""Which files of a folder of identities are images, whatever tools left beside them."""

import unicodedata

import pytest

from arcface_common.errors import DataError
from components.datasets.identity_folders import FileNames, find_identities, find_photos, images_below
from tests.helpers import jpeg

JUNK = [
    ".DS_Store",
    ".git/config",
    "@eaDir/Ann_0001.jpg",
    "__MACOSX/Ann/Ann_0001.jpg",
    "Thumbs.db",
    "notes.txt",
    "Ann/._Ann_0001.jpg",
    "Ann/.DS_Store",
    "Ann/@eaDir/Ann_0001.jpg",
    "Ann/Desktop.ini",
    "Ann/notes.txt",
    "Ann/older/Ann_0001.jpg",
    "Bo/THUMBS.DB",
]


@pytest.fixture
def faces(tmp_path):
    """Ann with three images, one of another name; a folder of nothing."""
    _write(tmp_path, "Ann/Ann_0001.JPG", "Ann/Ann_0002.jpeg", "Ann/0003")
    (tmp_path / "Empty").mkdir()
    return tmp_path


def _write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(0) if name.lower().endswith(("jpg", "jpeg", "0003")) else b"text")


def test_what_tools_leave_behind_is_left_out_and_counted(faces):
    _write(faces, *JUNK)
    found = find_identities(faces)
    assert {name: [path.name for path in files] for name, files in found.identities.items()} == {
        "Ann": ["0003", "Ann_0001.JPG", "Ann_0002.jpeg"]
    }
    assert found.images == found.identities["Ann"]
    assert sorted(found.left_out.others) == [
        ".DS_Store",
        ".git/",
        "@eaDir/",
        "Ann/.DS_Store",
        "Ann/._Ann_0001.jpg",
        "Ann/@eaDir",
        "Ann/Desktop.ini",
        "Ann/notes.txt",
        "Bo/",
        "Bo/THUMBS.DB",
        "Empty/",
        "Thumbs.db",
        "__MACOSX/",
        "notes.txt",
    ]
    assert found.left_out.lines()[0] == (
        "warning: left out, images in deeper folders: 1 (Ann/older/): move them up into its own"
    )
    assert found.left_out.lines()[1].startswith("left out, no images: 14 (.DS_Store, .git/, @eaDir/, ")
    assert find_identities(faces).left_out == found.left_out


def test_nothing_is_said_where_nothing_is_left_out(faces):
    (faces / "Empty").rmdir()
    assert find_identities(faces).left_out.lines() == []


@pytest.mark.parametrize("name", ["faces.csv", "rejected.html", "pairs.txt", "skipped.csv"])
def test_what_our_commands_leave_is_no_surprise(tmp_path, name):
    _write(tmp_path, "flat/1.jpg", f"flat/{name}", f"flat/note-{name}")
    assert images_below(tmp_path / "flat")[1].others == [f"note-{name}"]
    assert find_photos(tmp_path / "flat").left_out.others == [f"note-{name}"]
    assert find_identities(tmp_path).left_out.others == [f"flat/note-{name}"]


@pytest.mark.parametrize(
    "name, message",
    [
        ("loose.PNG", "loose.PNG: expected images in one folder an identity. Received: an image beside them"),
        ("0003", "0003: expected images in one folder an identity"),
    ],
)
def test_an_image_that_belongs_to_nobody_is_refused(faces, name, message):
    _write(faces, name)
    with pytest.raises(DataError, match=message):
        find_identities(faces)


def test_a_link_that_leads_back_is_left_out(faces):
    (faces / "Ann" / "again").symlink_to(faces / "Ann", target_is_directory=True)
    (faces / "loop").symlink_to(faces, target_is_directory=True)
    (faces / "itself.jpg").symlink_to("itself.jpg")
    assert find_photos(faces / "Ann").left_out.others == ["again/"]
    (faces / "itself.jpg").unlink()
    assert "loop/" in find_identities(faces).left_out.others


def test_one_name_in_two_unicode_forms_is_no_two_people(faces):
    for form in ("NFC", "NFD"):
        _write(faces, unicodedata.normalize(form, "Zoé/1.jpg"))
    with pytest.raises(
        DataError, match="one folder an identity. Received: 'Zoe.u0301' and 'Zo.xe9', one name in two Uni"
    ):
        find_identities(faces)


def test_folders_without_an_identity_are_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere: expected a folder with one folder an identity. Received: no such"):
        find_identities(tmp_path / "nowhere")
    with pytest.raises(DataError, match="with JPEG or PNG files. Received: no such file"):
        find_identities(tmp_path)


def test_a_file_is_found_by_a_name_that_is_alike(faces):
    names = FileNames()
    assert names.existing(faces / "ANN" / "ann_0001.jpg") == faces / "Ann" / "Ann_0001.JPG"
    assert names.existing(faces / "Ann" / ".." / "ann" / "Ann_0002.jpeg").samefile(faces / "Ann" / "Ann_0002.jpeg")
    assert names.existing(faces / "Ann" / "Ann_0009.jpg") is None
    assert names.existing(faces / "Ann") is None


def test_images_that_are_not_read_are_counted_apart_from_what_nobody_misses(faces):
    _write(faces, "Bo/1.webp", "Bo/2.HEIC", "Bo/old/3.jpg", "Cy/1.jpg", "Cy/2.webp", "Cy/notes.txt")
    _write(faces, "Di/2019/summer/1.jpg", "Di/2019/2.avif", "Di/2019/@eaDir/3.jpg", "loose.tiff", "Cy/._x.webp")
    found = find_identities(faces)
    assert sorted(found.identities) == ["Ann", "Cy"]
    assert found.left_out.lines() == [
        "warning: left out, images of a form that isn't read: 4 (webp 2, heic 1, tiff 1; Bo/1.webp, Bo/2.HEIC, "
        "Cy/2.webp, loose.tiff): convert them to JPEG or PNG",
        "warning: left out, images in deeper folders: 3 (Bo/old/, Di/2019/): move them up into its own",
        "warning: left out, identities of such images alone: 2 (Bo, Di)",
        "left out, no images: 3 (Cy/._x.webp, Cy/notes.txt, Empty/)",
    ]
    flat = find_photos(faces / "Cy")
    assert (flat.left_out.unread, flat.left_out.others) == (["2.webp"], ["._x.webp", "notes.txt"])
    assert images_below(faces)[1].unread == ["loose.tiff", "Bo/1.webp", "Bo/2.HEIC", "Cy/2.webp", "Di/2019/2.avif"]


def test_where_no_image_is_read_the_error_says_what_is_there(tmp_path):
    _write(tmp_path, "p1/0.webp", "p1/1.webp", "p2/2019/0.jpg")
    message = r"Received: images of a form that isn't read: 2 \(webp 2; p1/0.webp, p1/1.webp\) and images in deeper"
    for find in (find_identities, find_photos):
        with pytest.raises(DataError, match=message):
            find(tmp_path)


def test_names_that_differ_in_case_or_blanks_alone_are_said(tmp_path):
    _write(tmp_path, "Anna/1.jpg", "anna/1.jpg", "Anna /1.jpg", "Bo/1.jpg", "Bob/1.jpg", "Di  Ek/1.jpg", "Di Ek/1.jpg")
    assert find_identities(tmp_path).remarks() == [
        "warning: names of identities that differ in case or blanks alone, which are taken as different people: 2 "
        "('Anna' = 'Anna ' = 'anna'; 'Di  Ek' = 'Di Ek')"
    ]
