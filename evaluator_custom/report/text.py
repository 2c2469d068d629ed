"""Texts that come from outside (names of sets and models, columns, values), made safe to show."""

from html import escape

_LONGEST = 80  # characters of a value; nobody reads more in a table


def printable(text: str) -> str:
    """The text in one line, with a mark for each character that shows nothing or turns what follows around.

    Those are control characters (NUL, escape), line ends, directions of writing (U+202E), and halves of surrogates.
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """The printable text, cut where it is longer."""
    shown = printable(text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def in_html(text: str) -> str:
    """The printable text, escaped for HTML."""
    return escape(printable(text))
