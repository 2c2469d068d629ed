"""The same bytes by Beam as by processes: in-process here; its other runners run the same DoFn."""

import pytest

from arcface_common.errors import DataError
from components.alignment import folder
from components.alignment.folder import align_folder
from components.alignment.settings import AlignSettings
from pipeline.beam import beam_args
from tests.components.alignment.marks import photo

MARKS = AlignSettings(detector="tests.components.alignment.marks:load")


@pytest.fixture
def photos(tmp_path):
    for number in range(12):
        path = tmp_path / "photos" / f"person{number // 4}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(number % 3, seed=number))
    return str(tmp_path / "photos")


def _by_beam(job, batches, done):
    from components.alignment.beam import run_by_beam

    run_by_beam(job, batches, done, beam_args("local"))


def test_the_same_as_by_processes(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_BATCH", 5)
    told = []

    def by_beam(job, batches, done):
        _by_beam(job, batches, told.append)

    report = align_folder(photos, str(tmp_path / "beam"), MARKS, by_beam)
    assert (report.photos, report.crops, report.several) == (12, 8, 4)
    assert sorted(told) == [2, 5, 5]
    align_folder(photos, str(tmp_path / "processes"), MARKS)
    for path in (tmp_path / "processes").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "beam" / path.relative_to(tmp_path / "processes")).read_bytes()


def test_a_detector_that_is_none_is_named(photos, tmp_path):
    for name, expected in (
        ("load_nothing", "expected a function from images"),
        ("load_liar", "expected faces of a box"),
    ):
        settings = AlignSettings(detector=f"tests.components.alignment.marks:{name}")
        with pytest.raises(DataError, match=f"{expected}.* Received: "):
            align_folder(photos, str(tmp_path / "crops"), settings, _by_beam)
    assert not list(tmp_path.glob("*crops*"))
