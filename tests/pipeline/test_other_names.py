"""Other projects' names lead to settings and backbones that are there, and the docs say the same of them."""

from pipeline import other_names
from pipeline.sections import SECTIONS
from tests.processes import ROOT
from trainer_module.backbone_facts import BACKBONES


def test_each_name_leads_to_what_is_there_and_is_in_the_docs():
    settings = {f"{section}.{name}" for section, kind in SECTIONS.items() for name in kind.__dataclass_fields__}
    assert set(other_names.SETTINGS.values()) <= settings
    assert set(other_names.BACKBONES.values()) <= set(BACKBONES)
    docs = (ROOT / "docs" / "how-to" / "training.md").read_text()
    table = docs.split("## Coming from arcface_torch")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    for name, ours in other_names.SETTINGS.items():
        assert any(f"`{name}`" in row.replace(" = ", "` ") and ours in row for row in rows), name
