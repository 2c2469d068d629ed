"""Finds dead references in the project's Markdown: `python -m docs.links`. Takes a second, and no network.

Checked are links and their anchors, paths of the repository and dotted names of its code in code spans and blocks, and
the pages of docs/ that code names. A link to another host isn't asked.
"""

import ast
import fnmatch
import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parent.parent
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+?)\s*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z]+:")
_PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)*/?")
_DOTTED = re.compile(r"(?<![\w./-])[a-z]\w*(?:\.\w+)+")
_PAGE_IN_CODE = re.compile(r"\bdocs/[\w/-]+\.(?:md|ipynb)(?:#[\w-]+)?")
_slug = slugify(case="lower")


class Repository:
    """Names of all files and folders of a Git repository, and what its Markdown refers to.

    Args:
      root: the repository's folder.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True)
        self._files = {name for name in done.stdout.split("\0") if name and (root / name).is_file()}
        self._folders = {str(folder) for name in self._files for folder in list(Path(name).parents)[:-1]}
        self._tops = {folder for folder in self._folders if "/" not in folder}
        self._packages = {name.partition("/")[0] for name in self._files if name.endswith(".py") and "/" in name}

    def dead(self) -> list[str]:
        """One line for each dead reference, by file and line."""
        found = []
        for name in sorted(self._files):
            if name.endswith((".md", ".py", ".ipynb")) and not name.startswith("tests/"):  # those make up pages
                text = (self._root / name).read_text()
                references = self._of_markdown(name, text) if name.endswith(".md") else self._of_code(text)
                for place, expected, received in sorted(references):
                    line = text.count("\n", 0, place) + 1
                    found.append(f"{name}:{line}: expected {expected}. Received: {received}")
        return found

    def _of_markdown(self, name: str, text: str) -> Iterator[tuple[int, str, str]]:
        """Position, what was expected, and what there is."""
        prose = _FENCED.sub(_blank, text)
        for span in _CODE.finditer(prose):
            for word in re.finditer(r"[^\s'\"]+", span[1]):
                yield from self._path(span.start(1) + word.start(), word[0])
            for dotted in _DOTTED.finditer(span[1]):
                yield from self._name(span.start(1) + dotted.start(), dotted[0])
        for block in _FENCED.finditer(text):
            for word in re.finditer(r"[^\s'\"]+", block[0]):
                yield from self._path(block.start() + word.start(), word[0])
        for link in _LINK.finditer(_CODE.sub(_blank, prose)):
            if not _ELSEWHERE.match(link[1]):
                yield from self._link(link.start(), link[1], posixpath.dirname(name), name)

    def _of_code(self, text: str) -> Iterator[tuple[int, str, str]]:
        for page in _PAGE_IN_CODE.finditer(text):
            yield from self._link(page.start(), page[0], "", "")

    def _link(self, place: int, target: str, folder: str, own: str) -> Iterator[tuple[int, str, str]]:
        path, _, anchor = target.partition("#")
        file = posixpath.normpath(posixpath.join(folder, path)) if path else own
        if file not in self._files:
            yield place, "a link to a file of the repository", target
        elif anchor and anchor not in anchors((self._root / file).read_text()):
            yield place, f"a link to a heading of {file}", target

    def _path(self, place: int, word: str) -> Iterator[tuple[int, str, str]]:
        """Of a word that begins like a path of the repository."""
        known = self._files | self._folders
        if _PATH.fullmatch(word) and "/" in word and word.partition("/")[0] in self._tops:
            if not (fnmatch.filter(known, word.rstrip("/")) if "*" in word else word.rstrip("/") in known):
                yield place, "a path of the repository", word

    def _name(self, place: int, dotted: str) -> Iterator[tuple[int, str, str]]:
        """Of a dotted name of a package: its modules must be there, and the last one must speak of what follows."""
        parts = dotted.split(".")
        if parts[0] not in self._packages or parts[-1] in ("py", "yaml", "json"):  # or a file's name
            return
        folder, rest = parts[0], parts[1:]
        while rest and f"{folder}/{rest[0]}" in self._folders:
            folder, rest = f"{folder}/{rest[0]}", rest[1:]
        file = f"{folder}/__init__.py"
        if rest and f"{folder}/{rest[0]}.py" in self._files:
            file, rest = f"{folder}/{rest[0]}.py", rest[1:]
        if rest and (file not in self._files or rest[0] not in _names((self._root / file).read_text())):
            yield place, "a name of the repository's code", dotted


def anchors(text: str) -> set[str]:
    """The anchors of a Markdown text's headings."""
    return {_slug(heading[1].replace("`", ""), "-") for heading in _HEADING.finditer(_FENCED.sub(_blank, text))}


def _blank(found: re.Match[str]) -> str:
    """As long, and of as many lines: positions stay."""
    return re.sub(r"[^\n]", " ", found[0])


def _names(source: str) -> set[str]:
    """What a module defines or hands on, also by a text, as a lazy one does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def main() -> int:
    """Prints every dead reference. Returns the exit status."""
    dead = Repository().dead()
    print("\n".join(dead) or "no dead references")
    return bool(dead)


if __name__ == "__main__":
    sys.exit(main())
