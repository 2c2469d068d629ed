"""Names from strangers as text of a file and of a terminal."""

import os

from hypothesis import given
from hypothesis import strategies as st

from arcface_common.name_text import ESCAPES, as_utf8, in_one_line


@given(st.binary(min_size=1).filter(lambda name: b"\\" not in name))
def test_every_name_of_linux_becomes_utf_8_that_tells_its_bytes(name):
    """Python's own decoder writes the bytes that are no UTF-8 the same way."""
    text = as_utf8(os.fsdecode(name))
    assert text == name.decode("utf-8", "backslashreplace")


def test_a_file_holds_the_same(tmp_path):
    with open(tmp_path / "names", "w", encoding="utf-8", errors=ESCAPES) as file:
        file.write(os.fsdecode(b"\xe9t\xc3\xa9"))
    assert (tmp_path / "names").read_bytes() == b"\\xe9t\xc3\xa9"


def test_nothing_moves_a_terminal_s_cursor():
    name = "été \x1b[2J\n\u202egpj.jpg " + os.fsdecode(b"\xff")
    assert in_one_line(name) == "été \\x1b[2J\\n\\u202egpj.jpg \\xff"
