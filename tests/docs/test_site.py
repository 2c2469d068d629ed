import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mkdocs.exceptions import PluginError

from arcface_common.setting import described
from docs.hooks import ROOT, generated
from pipeline.cli import main
from pipeline.presets import PRESETS, preset_file
from pipeline.sections import SECTIONS

SETTINGS = {one.name: one for one in described(SECTIONS)}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_SETTING = re.compile(rf"\b(?:{'|'.join(SECTIONS)})\.[a-z][a-z_]*\b")
_NO_SETTINGS = {"train.rec", "train.idx"}


def build(tree, site):
    """Builds the site of a tree as `make docs` does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    environment = {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)


@pytest.fixture
def tree(tmp_path):
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "mkdocs.yml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def test_the_site_has_every_page_and_links_between_them(tree):
    done = build(tree, tree / "site")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("INFO ")] == []
    start = (tree / "site" / "index.html").read_text()
    assert 'href="how-to/gate.html"' in start and 'href="contributing.html"' in start
    assert 'href="../index.html#numbers"' in (tree / "site" / "reference" / "numbers.html").read_text()
    shown = (tree / "site" / "reference" / "settings.html").read_text()
    assert all(f"<code>{name}</code>" in shown for name in SETTINGS)


def test_a_dead_link_builds_no_site(tree):
    page = tree / "docs" / "how-to" / "gate.md"
    page.write_text(page.read_text() + "\n[gone](gone.md)\n")
    done = build(tree, tree / "site")
    assert done.returncode and "gone.md" in done.stderr


def test_settings_stand_with_default_values_and_meaning():
    (line,) = [line for line in generated("settings").splitlines() if line.startswith("| `train.batch_size` |")]
    one = SETTINGS["train.batch_size"]
    assert line == f"| `train.batch_size` | `{one.default}` | {one.range} | {one.about} |"
    rows = [line for line in generated("settings").splitlines() if line.startswith("| `")]
    assert len(rows) == len(SETTINGS)
    assert all(len(re.split(r"(?<!\\)\|", row)) == 6 for row in rows)


def test_every_command_and_preset_is_shown():
    shown = generated("commands")
    assert all(f"\n## {name}\n" in shown for name in (*main.commands, "evaluate search", "runs diff"))
    assert "Usage: arcface-tfx evaluate search [OPTIONS] MODEL" in shown
    assert all(
        f"### {name}\n\n```yaml\n{Path(preset_file(name)).read_text()}```" in generated("presets") for name in PRESETS
    )


def test_another_generated_part_is_an_error():
    with pytest.raises(PluginError, match="Received: 'figures'"):
        generated("figures")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_settings_that_exist(page):
    named = {name for name in _SETTING.findall(page.read_text()) if not name.endswith((".py", ".md"))}
    assert named - _NO_SETTINGS - SETTINGS.keys() == set()


@pytest.mark.parametrize(("name", "most"), [("README.md", 120), ("CONTRIBUTING.md", 80)])
def test_first_pages_are_short(name, most):
    assert len((ROOT / name).read_text().splitlines()) <= most


def test_every_installed_package_stands_with_a_licence():
    rows = generated("licences").splitlines()[2:]
    locked = (ROOT / "requirements" / "runtime.lock").read_text()
    assert len(rows) == locked.count("==") > 200
    # namex's metadata is silent, and so is its wheel.
    assert {row.split()[1] for row in rows if row.endswith("| not named |")} <= {"namex"}
    (ours,) = [row for row in rows if row.startswith("| tensorflow |")]
    assert "Apache" in ours


def test_forms_and_workflow_are_what_github_reads():
    forms = [yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")]
    assert len(forms) == 2
    for form in forms:
        assert {"name", "description", "body"} <= set(form)
        assert all(part["type"] == "textarea" and part["attributes"]["label"] for part in form["body"])
        assert len({part["id"] for part in form["body"]}) == len(form["body"])
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert {"run": ".ci/run"} in jobs["check"]["steps"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
