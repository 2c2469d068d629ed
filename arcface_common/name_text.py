r"""Names from strangers as text: of a file that is UTF-8, and of a line on a terminal. Standard library only.

A name on Linux is bytes. Python keeps those that are no UTF-8 as halves of surrogates, which no UTF-8 file can hold;
they are written as `\xNN`, the same in every file of names.
"""

import codecs

ESCAPES = "arcface-tfx-escapes"  # for `open(..., errors=ESCAPES)`


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_escaped, error.object[error.start : error.end])), error.end


codecs.register_error(ESCAPES, _escape)


def as_utf8(name: str) -> str:
    """A name as a UTF-8 file holds it."""
    return name.encode("utf-8", ESCAPES).decode()


def in_one_line(text: object) -> str:
    """The text, with what moves a terminal's cursor or turns its writing around as escapes."""
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()
