"""HTML pages from templates, which ask for nothing outside themselves. jinja2, 0.1 s, is imported when one is made.

Every value is escaped, and shown in one line of characters that a reader can see.
"""

import base64
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from arcface_common.features import IMAGE_MAGICS

DASH = "–"  # a figure that the data cannot tell
_LONGEST = 80  # characters of a value; nobody reads more in a table


def render(templates: Traversable, name: str, **values: Any) -> str:
    """A page.

    Args:
      templates: their folder; `page.html` and `style.css`, which they build on, lie in this package.
      name: of the page's template.
      **values: what it shows.
    """
    import jinja2

    def read(template: str) -> str | None:
        files = (folder / template for folder in (templates, resources.files(__package__) / "templates"))
        return next((file.read_text("utf-8") for file in files if file.is_file()), None)

    environment = jinja2.Environment(
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # of what is no markup
        loader=jinja2.FunctionLoader(read),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "count": lambda number: f"{number:,}",
        "data_uri": data_uri,
        "number": number,
        "percent": percent,
        "shortened": shortened,
    }
    environment.globals["dash"] = DASH
    return environment.get_template(name).render(values)


def number(value: float | None, digits: int = 4) -> str:
    """A rounded number, or a dash."""
    return DASH if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share of 0..1, e.g. "0.1 %", to three significant digits below 10 % and to hundredths above; or a dash."""
    if share is None:
        return DASH
    return f"{share:.2%}".replace("%", " %") if share >= 0.1 else f"{100 * share:.3g} %"


def printable(text: str) -> str:
    """The text in one line, with a mark for each character that shows nothing or turns what follows around.

    Those are control characters (NUL, escape), line ends, directions of writing (U+202E), and halves of surrogates.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """The printable text, cut where it is longer."""
    shown = printable(text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def data_uri(image: bytes) -> str:
    """A JPEG or PNG within the page itself; safe, as base64 needs no escape."""
    kind = "jpeg" if image.startswith(IMAGE_MAGICS[0]) else "png"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
