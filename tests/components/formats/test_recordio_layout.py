"""Which records are images, and whose: the layout of a RecordIO file."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.formats.recordio import (
    Record,
    RecordError,
    pack,
    read_layout,
    rebuild_index,
)
from components.formats.recordio import layout as layout_module
from tests.components.formats.records_in_memory import face_records, opened


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 9))
def test_the_layout_in_any_order(counts: list[int], seed: int) -> None:
    records = face_records(counts)
    random.Random(seed).shuffle(records)
    reader, index = opened(records)
    layout = read_layout(reader, index)
    assert layout.image_keys.tolist() == list(range(1, sum(counts) + 1))
    assert layout.num_identities == len(counts) == len(layout.identity_keys)
    assert (layout.identity_ranges[:, 1] - layout.identity_ranges[:, 0] + 1).tolist() == counts
    for key, offset in zip(layout.image_keys, layout.image_offsets, strict=True):
        record = reader.read(offset, key=key)
        first, last = layout.identity_ranges[int(record.label)]
        assert record.payload == b"jpeg" and first <= key == record.id <= last
    rebuilt = rebuild_index(reader)
    assert (rebuilt.keys.tolist(), rebuilt.offsets.tolist()) == (index.keys.tolist(), index.offsets.tolist())


def test_without_a_header_record_every_key_is_an_image() -> None:
    layout = read_layout(*opened(face_records([2, 3], header=False)))
    assert (layout.num_images, layout.num_identities, len(layout.identity_keys)) == (5, None, 0)


def test_an_image_with_a_label_vector_at_key_0_is_no_header() -> None:
    records = [(key, pack(Record((float(key), 1.0), key, 0, b"jpeg"))) for key in range(3)]
    assert read_layout(*opened(records)).image_keys.tolist() == [0, 1, 2]


def test_repeated_ids_are_rebuilt_as_positions() -> None:
    reader, index = opened([(key, pack(Record((1.0,), 0, 0, b"jpeg"))) for key in range(3)])
    assert rebuild_index(reader).keys.tolist() == [0, 1, 2]
    assert rebuild_index(reader).offsets.tolist() == index.offsets.tolist()


def test_keys_beyond_float32_are_found_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Glint360K's header rounds: here float32 is taken to step by 4 above 4, and the header to say so."""
    monkeypatch.setattr(layout_module, "FLOAT32_EXACT", 4)
    monkeypatch.setattr(np, "spacing", lambda _: 4)
    records = face_records([3, 4, 3, 3])
    records[0] = (0, pack(Record((12.0, 20.0), 0, 0, b"")))  # instead of 14 and 18
    layout = read_layout(*opened(records))
    assert (layout.num_images, layout.identity_keys.tolist()) == (13, [14, 15, 16, 17])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: Record((1.0, 2.0), 0, 0, b"")}, "key 0, byte offset 0: expected labels .*Received: labels"),
        ({0: Record((9.5, 11.0), 0, 0, b"")}, "key 0, byte offset 0: expected labels"),
        ({0: Record((5.0, 99.0), 0, 0, b"")}, "a.idx, key 7: expected all of the keys 5 .. 98 .*no such identity"),
        ({5: None}, "a.idx, key 5: expected all of the keys 5 .. 6 .*no such identity record"),
        (dict.fromkeys(range(1, 5)), "a.idx, key 1: expected all of .* and images before, .* no such image"),
        ({6: Record((3.0, 9.0), 6, 0, b"")}, "key 6, byte offset .*: expected .*within 1 .. 5"),
        ({6: Record((3.0,), 6, 0, b"")}, "key 6"),
        ({6: Record((3.0, float("nan")), 6, 0, b"")}, "key 6"),
    ],
)
def test_a_layout_that_cannot_be_is_named(change: dict[int, Record | None], message: str) -> None:
    records = [(key, pack(new) if (new := change.get(key)) else data) for key, data in face_records([2, 2])]
    with pytest.raises(RecordError, match=message):
        read_layout(*opened([x for x in records if change.get(x[0], True)]))


def test_images_that_were_skipped_are_left_out_and_said() -> None:
    records = face_records([3, 3, 3])
    layout = read_layout(*opened([x for x in records if x[0] not in (2, 5, 6, 7)] + [(40, records[1][1])]))
    assert layout.image_keys.tolist() == [1, 3, 4, 8, 9]
    assert layout.identity_ranges.tolist() == [[1, 3], [4, 6], [7, 9]]
    assert layout.remarks == (
        "4 image keys that the header record announces, missing: 2, 5, 6, ...",
        "1 record behind the last identity record, left out: 40",
    )
    assert read_layout(*opened(records)).remarks == ()
