import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from components.alignment.faces_csv import COLUMNS, FaceRow, write_faces

numbers = st.floats(-1e5, 1e5)
names = st.text(st.characters(exclude_characters="\0"), min_size=1)
rows = st.one_of(
    st.builds(FaceRow, names, st.integers(0, 9), names),
    st.builds(
        FaceRow,
        names,
        st.integers(1, 9),
        st.just(""),
        st.tuples(*[numbers] * 4),
        numbers,
        st.tuples(*[numbers] * 10),
        *[numbers] * 4,
    ),
)


@given(rows)
def test_a_row_comes_back_from_its_line(row):
    line = row.to_json()
    assert "\n" not in line
    assert FaceRow.from_json(line) == row


@given(st.lists(rows, max_size=4))
def test_the_list_is_a_csv_of_the_columns(listed):
    text = io.StringIO(newline="")
    write_faces(text, listed)
    text.seek(0)
    found = list(csv.DictReader(text))
    assert [row["file"] for row in found] == [row.file for row in listed]
    for row, cells in zip(listed, found, strict=True):
        assert tuple(cells) == COLUMNS
        assert cells["rejected"] == row.rejected
        assert (cells["right"] == "") == (row.box is None)
        if row.box is not None:
            assert abs(float(cells["right"]) - row.box[2]) <= 1e-5 * abs(row.box[2]) + 1e-4


def test_kinds_of_reasons():
    assert FaceRow("a", rejected="no face").kind == "no face"
    assert FaceRow("a", rejected="low score: 0.2, min-score is 0.9").kind == "low score"
    assert FaceRow("a").kind == ""
