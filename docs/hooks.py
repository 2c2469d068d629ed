"""What MkDocs asks while it builds the site: the pages of the repository's root, and the generated parts.

README.md is the site's first page. A page of the reference holds a line `<!-- generated: NAME -->`, in whose place
comes what the program says of itself, so that it can't grow stale.
"""

import importlib.metadata
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from arcface_common.setting import Described, described
from pipeline.cli import main
from pipeline.cli.settings import as_yaml
from pipeline.presets import PRESETS, preset_file
from pipeline.sections import SECTIONS

ROOT = Path(__file__).resolve().parent.parent
# Files of the root -> pages of the site.
ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_GENERATED = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
# A link from a page of docs/ to one of the root leaves the folder: one `../` more than on the site.
_TO_ROOT = re.compile(rf"(\]\()\.\./((?:\.\./)*)({'|'.join(map(re.escape, ROOT_PAGES))})")
_HELP_WIDTH = 100


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages of the root, whose links into docs/ are links beside them on the site."""
    for name, page in ROOT_PAGES.items():
        text = (ROOT / name).read_text().replace("](docs/", "](")
        for other, its_page in ROOT_PAGES.items():
            text = text.replace(f"]({other}", f"]({its_page}")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turns links to the root, and puts the generated parts in."""
    markdown = _TO_ROOT.sub(lambda link: f"{link[1]}{link[2]}{ROOT_PAGES[link[3]]}", markdown)
    return _GENERATED.sub(lambda marker: generated(marker[1]), markdown)


def generated(name: str) -> str:
    """The Markdown of a part.

    Args:
      name: "settings", "presets", "commands" or "licences".

    Raises:
      PluginError: another name.
    """
    if name not in _PARTS:
        raise PluginError(f"expected a generated part of {', '.join(_PARTS)}. Received: {name!r}")
    return "\n".join(_PARTS[name]())


def _settings() -> Iterator[str]:
    """A heading and a table for each section."""
    section = ""
    for one in described(SECTIONS):
        if one.name.partition(".")[0] != section:
            section = one.name.partition(".")[0]
            yield from ("", f"## {section}", "", "| setting | default | values | meaning |", "|---|---|---|---|")
        yield _row(one)


def _row(one: Described) -> str:
    default = as_yaml(one.default)
    return f"| `{one.name}` | {f'`{default}`' if default else 'empty'} | {_plain(one.range)} | {_plain(one.about)} |"


def _plain(text: str) -> str:
    """Text that Markdown takes as it is, but for code in backticks."""
    return re.sub(r"`[^`]*`|[\\|*_<>{}\[\]]", lambda found: found[0] if len(found[0]) > 1 else f"\\{found[0]}", text)


def _presets() -> Iterator[str]:
    """A heading and the file of each."""
    for name in PRESETS:
        yield from ("", f"### {name}", "", "```yaml", Path(preset_file(name)).read_text().rstrip(), "```")


def _commands(group: click.Group = main, above: str = "arcface-tfx") -> Iterator[str]:
    """A heading and the help of each command, those of a group's after its own."""
    for name, command in group.commands.items():
        path = f"{above} {name}"
        with click.Context(command, info_name=path, terminal_width=_HELP_WIDTH) as context:
            text = command.get_help(context)
        yield from ("", f"## {path.partition(' ')[2]}", "", "```text", text, "```")
        if isinstance(command, click.Group):
            yield from _commands(command, path)


def _licences() -> Iterator[str]:
    """A table of the packages of runtime.lock, as their metadata names their licences."""
    locked = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / "runtime.lock").read_text(), re.MULTILINE)
    yield from ("| package | version | licence |", "|---|---|---|")
    for package, version in locked:
        yield f"| {package} | {version} | {_plain(licence(importlib.metadata.metadata(package)))} |"


def licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """The licence that a package names: its SPDX expression, or its classifiers, or the first line of its own words."""
    if metadata["License-Expression"]:
        return metadata["License-Expression"]
    classifiers = [name for name in metadata.get_all("Classifier") or [] if name.startswith("License ::")]
    named = [name.rpartition(" :: ")[2] for name in classifiers if name != "License :: OSI Approved"]
    own = (metadata["License"] or "").strip().partition("\n")[0]
    return ", ".join(named) or own or "not named"


_PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "settings": _settings,
    "presets": _presets,
    "commands": _commands,
    "licences": _licences,
}
