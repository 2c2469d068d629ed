import subprocess

import pytest

from docs.links import Repository, anchors

README = """# Title

## The `gate`, and what a/b it holds

[page](docs/page.md) [part](docs/page.md#one--two) [here](#the-gate-and-what-ab-it-holds) [elsewhere](https://host.example/x)
`tools/run.py`, `tools/`, `tools/*.py`, `tools.run.start`, `tools.run`, `build/demo`, `pipeline.yaml`, `[x](y.md)`

```
cat tools/run.py
[no](link.md)
```
"""


@pytest.fixture
def root(tmp_path):
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    files = {
        "README.md": README,
        "docs/page.md": "# Page\n\n## One & two\n\n[up](../README.md#title)\n\n```\n# no heading\n```\n",
        "tools/__init__.py": "",
        "tools/run.py": 'def start() -> str:\n    """See docs/page.md#page."""\n    return "x"\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_is_alive_is_not_said(root):
    assert Repository(root).dead() == []


@pytest.mark.parametrize(
    ("file", "text", "line", "received"),
    [
        ("README.md", "\n[x](docs/gone.md)", 2, "docs/gone.md"),
        ("README.md", "![x](docs/gone.png)", 1, "docs/gone.png"),
        ("README.md", "[x](docs/page.md#three)", 1, "docs/page.md#three"),
        ("README.md", "[x](docs/page.md#no-heading)", 1, "docs/page.md#no-heading"),
        ("README.md", "[x](#three)", 1, "#three"),
        ("docs/page.md", "[x](README.md)", 1, "README.md"),
        ("README.md", "a\n\n`tools/gone.py`", 3, "tools/gone.py"),
        ("README.md", "`tools/*.c`", 1, "tools/*.c"),
        ("README.md", "```\nx\ncat tools/gone.py\n```", 3, "tools/gone.py"),
        ("README.md", "`python -m tools.gone`", 1, "tools.gone"),
        ("README.md", "`tools.run.stop(x)`", 1, "tools.run.stop"),
        ("tools/run.py", "# see docs/gone.md", 1, "docs/gone.md"),
    ],
)
def test_what_is_dead_is_said_with_its_line(root, file, text, line, received):
    before = (root / file).read_text()
    (root / file).write_text(before + text)
    (said,) = Repository(root).dead()
    assert said.startswith(f"{file}:{before.count(chr(10)) + line}: expected a ")
    assert said.endswith(f"Received: {received}")


def test_an_ignored_file_is_none_of_the_repository(root):
    (root / ".gitignore").write_text("docs/page.md\n")
    assert any("docs/page.md" in one for one in Repository(root).dead())


def test_anchors_are_those_of_headings():
    assert anchors(README) == {"title", "the-gate-and-what-ab-it-holds"}
