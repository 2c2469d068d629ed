"""Lists of pairs as CSV with a header."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcface_common.errors import DataError
from components.datasets import pair_csv
from components.datasets.pair_list import PairList, read_pairs
from tests.helpers import jpeg

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9).map(
    str.strip
)


@pytest.fixture
def faces(tmp_path):
    """Ann with two images, Bo, whose file has a comma and a quote in its name, with one."""
    for name in ("Ann/1.jpg", "Ann/2.jpg", 'Bo/a, "b".jpg'):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "faces" / name).write_bytes(jpeg(0))
    return tmp_path / "faces"


def _read(faces, text):
    path = faces.parent / "pairs.csv"
    path.write_text(text, newline="")
    folder = faces.resolve()
    return [
        (str(p.first.relative_to(folder)), str(p.second.relative_to(folder)), p.same) for p in read_pairs(path, folder)
    ]


EXPECTED = [("Ann/1.jpg", "Ann/2.jpg", True), ("Ann/1.jpg", 'Bo/a, "b".jpg', False)]


@pytest.mark.parametrize("images", [",".join(names) for names in pair_csv.IMAGE_COLUMNS])
@pytest.mark.parametrize("same", pair_csv.SAME_COLUMNS)
def test_all_known_columns(faces, images, same):
    assert _read(faces, f'{images},{same}\nAnn/1.jpg,Ann/2.jpg,1\nAnn/1.jpg,"Bo/a, ""b"".jpg",0\n') == EXPECTED


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_line_ends_other_columns_and_words(faces, mark, end):
    rows = [
        ["", "Label", "fold", "Image1", "score", "Image2"],
        ["0", "True", "1", "Ann/1.jpg", "0.5", "Ann/2.jpg"],
        ["1", "false", "1", "Ann/1.jpg", "", 'Bo/a, "b".jpg'],
    ]
    file = io.StringIO()
    csv.writer(file, delimiter=mark, lineterminator=end).writerows(rows)
    assert _read(faces, f"\ufeff{end}{file.getvalue()}{end}") == EXPECTED


@given(st.lists(st.tuples(NAMES, NAMES, st.booleans()), min_size=1, max_size=5), st.sampled_from(",;\t"))
def test_what_the_csv_module_writes_is_read_back(rows, mark):
    file = io.StringIO()
    csv.writer(file, delimiter=mark).writerows(
        [("path_a", "path_b", "same"), *((a, b, int(same)) for a, b, same in rows)]
    )
    header = pair_csv.find_header("pairs.csv", file.getvalue())
    found = [fields for _, fields in pair_csv.read_rows("pairs.csv", file.getvalue(), header)]
    assert found == [[a, b, str(int(same))] for a, b, same in rows]


def test_a_list_without_a_header_stays_what_it_was(faces):
    (faces / "Ann" / "a,b;c.jpg").write_bytes(jpeg(1))
    assert _read(faces, "Ann/a,b;c.jpg Ann/2.jpg 1\n") == [("Ann/a,b;c.jpg", "Ann/2.jpg", True)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ann/1.jpg,Ann/2.jpg,1\n", r"line 1: expected a CSV's header with path_a,path_b or .* and same or .*label"),
        ("\n\nfile;other;same\n", r"line 3: expected a CSV's header .* Received: 'file;other;same'"),
        ("path_a,path_b,image1,image2,same\n", "line 1: expected a CSV's header"),
        ("path_a,path_b,same,label\n", "line 1: expected a CSV's header"),
        ("path_a,path_b,same,same\n", "line 1: expected a CSV's header"),
        ("path_a,path_b,same\n", "expected a list of pairs. Received: a header alone"),
        ("path_a,path_b,same\n\nAnn/1.jpg,Ann/2.jpg\n", "line 3: expected 3 values, one a column. Received: 2"),
        (
            "path_a,path_b,same\nAnn/1.jpg,Ann/2.jpg,yes\n",
            "line 2: expected 1, 0, .* the column 'same'. Received: 'yes'",
        ),
        (
            "path_a,path_b,same\nAnn/1.jpg,Ann/9.jpg,1\n",
            r"line 2: expected a file .*Ann/9\.jpg. Received: no such file",
        ),
        ('path_a,path_b,same\nAnn/1.jpg,"Ann/2.jpg,1\n', "line 2: expected a CSV. Received: unexpected end of data"),
        (
            "path_a,path_b,same\nAnn/1.jpg,Ann/2.jpg,0\n",
            "line 2: expected different people. Received: two images of 'Ann'",
        ),
        (
            "path_a,path_b,same\n" + "x" * 200_000 + ",b,0\n",
            "line 2: expected a CSV. Received: field larger than field",
        ),
        ("x" * 200_000 + ",b,0\n", "line 1: expected a CSV's header"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(faces, text, message):
    with pytest.raises(DataError, match=f"pairs.csv,? ?:? ?{message}"):
        _read(faces, text)


def test_a_set_may_not_take_the_name_of_the_list_of_what_was_skipped():
    with pytest.raises(DataError, match="name other than that of skipped.csv. Received: 'skipped'"):
        PairList("pairs.csv", "skipped")
