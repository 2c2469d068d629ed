"""The commands that a page shows, as a person would copy them."""

import re

# A fenced block is of commands if its first line begins like one; every other block is output or a drawing.
_BEGINS = re.compile(r"(?:make |docker |arcface-tfx |\.venv/bin/|[A-Z_]+=\S* )")
_FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`((?:\.venv/bin/)?arcface-tfx [^`]+)`(?!`)")


def commands(text: str) -> list[str]:
    """All commands of a Markdown text, in their order, without comments.

    Args:
      text: with commands in fenced blocks, one a line, and inline as `arcface-tfx COMMAND ...`.

    Returns:
      Lines for a shell. Each line of a block of commands is one, whatever it begins with.
    """
    found: list[tuple[int, str]] = []
    for block in _FENCED.finditer(text):
        if _BEGINS.match(block[1]):
            lines = (line.partition("  #")[0].strip() for line in block[1].replace("\\\n", " ").splitlines())
            found += [(block.start(), line) for line in lines if line]
    outside = _FENCED.sub(lambda block: " " * len(block[0]), text)
    found += [(span.start(), " ".join(span[1].split())) for span in _INLINE.finditer(outside)]
    return [command for _, command in sorted(found, key=lambda item: item[0])]
