"""Fixtures of the tests of conversion."""

from pathlib import Path

import pytest

from tests.components.datasets.conversions import png
from tests.helpers import jpeg


@pytest.fixture
def faces(tmp_path) -> Path:
    """Three people: Ann with three images, Bo with two, Cy with a PNG."""
    folder = tmp_path / "faces"
    for name, number, data in (
        ("Cy", "0001.png", png()),
        ("Bo", "0001.jpg", jpeg(10)),
        ("Bo", "0002.jpeg", jpeg(11)),
        ("Ann", "0002.jpg", jpeg(1)),
        ("Ann", "0001.jpg", jpeg(0)),
        ("Ann", "0010.JPG", jpeg(2)),
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{name}_{number}").write_bytes(data)
    return folder
