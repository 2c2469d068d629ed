"""Errors for input that is not what its format says, and what they say."""

import ast
import contextlib
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# What TensorFlow writes around the one sentence that says what went wrong: where Python made the node, and node names.
_AROUND = re.compile(
    r"\s*$|Graph execution error:|\s*Detected at node|<stack traces unavailable>|in user code:|  File \"|"
    r"    (?!\w+Error: )|\d+ root error\(s\) found|\s*\[\[|\d+ (successful|derived) "
)
_BEFORE = re.compile(
    r"^\s*(\(\d+\) [A-Z_]+: +)?(\w+Error: )?(\{\{[^}]*\}\} *)*"
    r"(Error in user-defined function passed to \S+ transformation with iterator: \S+: )?"
)
_BEHIND = re.compile(r"\s*(\[\[.*|\[Op:.*)$")
# Bytes as Python writes them, cut or whole, more than 40: a magic, a key or the begin of a line is fewer.
_BYTES = re.compile(r"\bb(?P<quote>['\"])(?>\\x[0-9a-f]{2}|\\.|(?!(?P=quote)|\\).){41,}(?P=quote)?", re.DOTALL)
# A file's name as bytes, as TensorFlow's loader of SavedModels writes it.
_NAME = re.compile(r"(?<=\bfile )b(?P<quote>['\"])(?>\\.|(?!(?P=quote)|\\).){1,16384}(?P=quote)")
_LONGEST_NAME = 4096  # PATH_MAX
_LONGEST = 200  # characters of a value in an error
_LONGEST_SENTENCE = 2000  # of what a library says
_typed = False  # whether what goes on is a command, whose arguments are flags
_MOST = 2.0**63  # what no number of ours reaches: a comparison that refuses NaN, infinity and 400 digits alike


class DataError(ValueError):
    """Bad input: names the file, what was expected, and what was received. The command line answers it with exit 2."""


class ConfigError(DataError):
    """A setting that doesn't exist or whose value is not allowed.

    Attributes:
      instead: setting, "section.field" -> a value that would be allowed, as it is written, or "" where there is none to
        name; empty where the error is about another thing.
    """

    def __init__(self, message: str, instead: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.instead = instead or {}


def argument(name: str, value: str = "") -> str:
    """An argument as an error speaks of it: `--set-name lfw` of a command, `set_name=lfw` in Python.

    Args:
      name: in Python, e.g. "set_name".
      value: that it should have or has; "" to speak of the argument alone.
    """
    if _typed:
        return f"--{name.replace('_', '-')} {value}".rstrip()
    return f"{name}={value}" if value else name


def setting_argument(text: str) -> str:
    """A setting and its value as an error recommends it: `--set train.steps=0` of a command, as it is in Python."""
    return f"--set {text}" if _typed else text


@contextlib.contextmanager
def typed_arguments() -> Iterator[None]:
    """Has errors speak of flags, for as long as a command runs in this process."""
    global _typed
    before, _typed = _typed, True
    try:
        yield
    finally:
        _typed = before


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What an error about an unknown word ends in: "; did you mean 'lfw'?", or "" where nothing known is like it."""
    by_form, form = {name.casefold(): name for name in known}, word.casefold()
    # "float16" is nearer to "float32" by letters than to "mixed_float16", which holds it.
    holding = [name for name in by_form if len(form) > 3 and form in name]
    close = difflib.get_close_matches(form, holding, n=1, cutoff=0.0) or difflib.get_close_matches(form, by_form, n=1)
    return f"; did you mean {by_form[close[0]]!r}?" if close else ""


def is_number(value: Any, kind: type = float) -> bool:
    """Whether a value out of a file is a finite number; `kind` int: a whole one. JSON's true is none."""
    return (
        isinstance(value, int if kind is int else int | float)
        and not isinstance(value, bool)
        and -_MOST < value < _MOST
    )


def cut(text: str, longest: int = _LONGEST) -> str:
    """The text, with a mark for what is beyond so many characters."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def without_bytes(text: str) -> str:
    """The text without the content of files, which may be pictures of people: libraries print what they can't read.

    A file's name, which some write as bytes, too, is shown as text.
    """
    return _BYTES.sub("b'…'", _NAME.sub(_name, text))


def _name(found: re.Match[str]) -> str:
    """The name in a literal of bytes, or the literal where that is none."""
    try:
        name = str(ast.literal_eval(found[0]).decode())
    except ValueError:
        return found[0]
    return name if name.isprintable() and len(name) < _LONGEST_NAME else found[0]


def in_short(error: BaseException) -> str:
    """What an error says, cut; of one of TensorFlow's, the sentence without its graph and Python's stack around."""
    return cut(without_bytes(_sentence(error)), _LONGEST_SENTENCE)


def _sentence(error: BaseException) -> str:
    text = str(error)
    if not any(cls.__module__.startswith("tensorflow.") for cls in type(error).__mro__):
        return text
    said = (_BEHIND.sub("", _BEFORE.sub("", line)) for line in text.splitlines() if not _AROUND.match(line))
    return next(filter(None, said), text.partition("\n")[0])


def parse_json_object(text: str, path: str) -> dict[str, Any]:
    """Parses a file of one JSON object.

    Args:
      text: what the file holds.
      path: of the file, for the error.

    Raises:
      DataError: no JSON, or something else than an object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON. Received: {str(error) or type(error).__name__}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object. Received: {type(value).__name__}")
    return value
