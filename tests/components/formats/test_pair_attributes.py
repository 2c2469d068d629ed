"""The CSV of attributes beside a verification set."""

import os

import pytest

from arcface_common.errors import DataError
from components.formats.pair_attributes import PairAttributesError, read_columns, read_pair_attributes

GOOD = "image,group,age\n0,a,30\n1,b,30\n3,a,\n2, a ,41\n"


def _read(tmp_path, text, pairs=2, encoding="utf-8"):
    path = tmp_path / "lfw.csv"
    path.write_bytes(text.encode(encoding))
    return read_pair_attributes(path, pairs)


def test_a_pair_has_the_value_of_both_or_the_two_of_them(tmp_path):
    assert _read(tmp_path, GOOD) == {"group": ["a / b", "a"], "age": ["30", ""]}
    swapped = GOOD.replace("0,a,30", "0,b,30").replace("1,b,30", "1,a,30")
    assert _read(tmp_path, swapped)["group"] == ["a / b", "a"]


def test_spreadsheets_files_are_read_too(tmp_path):
    text = '\ufeffimage,"a, b"\r\n0,"x ""y"""\r\n1,"x ""y"""\r\n\r\n'
    assert _read(tmp_path, text, pairs=1) == {"a, b": ['x "y"']}


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "lfw.csv"
    path.touch()
    os.truncate(path, 6 << 30)
    for read in (read_columns, lambda path: read_pair_attributes(path, 2)):
        with pytest.raises(DataError, match=r"lfw\.csv: expected a file of at most 16,777,216 bytes .* 6,442,450,9"):
            read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a header .* Received: \\[\\]"),
        ("image\n0\n", "expected a header of different names"),
        ("position,group\n0,a\n", "expected a header .*'image'.* Received: \\['position', 'group'\\]"),
        ("image,a,a\n0,1,2\n", "expected a header of different names"),
        ("image,a=b\n0,1\n", "none empty or with '='"),
        (GOOD + "4,a,30\n", r"lfw\.csv, line 6: expected the position of an image, 0\.\.3\. Received: '4'"),
        (GOOD + "-1,a,30\n", "Received: '-1'"),
        (GOOD + "9" * 5000 + ",a,30\n", r"line 6: expected the position of an image, 0\.\.3\. Received: '999"),
        (GOOD + "2,a,30\n", "line 6: expected one row for each image. Received: another one for image 2"),
        (GOOD + "2,a\n", r"line 6: expected 3 values\. Received: \['2', 'a'\]"),
        ("image,group\n0,a\n3,b\n", "expected a row for each of the 4 images. Received: none for image 1, 2 missing"),
        ('image,group\n0,"a\n', "expected a CSV in UTF-8"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, message):
    with pytest.raises(PairAttributesError, match=message):
        _read(tmp_path, text)


def test_another_encoding_is_refused(tmp_path):
    with pytest.raises(PairAttributesError, match=r"lfw\.csv: expected a CSV in UTF-8"):
        _read(tmp_path, "image,group\n0,é\n1,é\n", pairs=1, encoding="latin-1")
