"""Photos of two people, beside what isn't one."""

import pytest

from tests.components.alignment.marks import photo


@pytest.fixture
def photos(tmp_path):
    """Ann with two photos and one without a face, Bo with a PNG of two faces, a broken file and a note."""
    root = tmp_path / "photos"
    for name, content in (
        ("Ann/1.jpg", photo(1)),
        ("Ann/2.JPG", photo(1, seed=2)),
        ("Ann/3.jpg", photo(0, seed=3)),
        ("Bo/1.png", photo(2, seed=4, kind="PNG")),
        ("Bo/2.jpeg", photo(1)[:2000]),
        ("Bo/notes.txt", b"notes"),
        ("Bo/.DS_Store", b"x"),
        ("Empty/Thumbs.db", b"x"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root
