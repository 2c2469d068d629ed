"""The digest changes with what a node runs, and with nothing else."""

import importlib
import sys

import pytest

from pipeline import code_version


def test_closure_follows_imports_of_this_project_only():
    files = code_version.source_files("trainer_module.run_fn", "trainer_module.worker")
    assert {
        "trainer_module.loop",
        "trainer_module.images",
        "trainer_module.backbones.iresnet",
        "serving.export",
    } <= set(files)
    assert not [name for name in files if name.startswith(("components", "pipeline", "evaluator_custom"))]


def test_evaluator_depends_on_protocol_and_metrics_but_not_on_training():
    files = code_version.source_files("evaluator_custom.component", "evaluator_custom.embed_pairs")
    assert {"evaluator_custom.protocol", "evaluator_custom.metrics", "evaluator_custom.embed_pairs"} <= set(files)
    assert "trainer_module.loop" not in files
    assert "components.recordio" not in files


def test_unknown_module():
    with pytest.raises(ModuleNotFoundError, match="Received: 'trainer_module.nothing'"):
        code_version.code_version("trainer_module.nothing")


def test_digest_follows_the_source(tmp_path, monkeypatch):
    package = tmp_path / "made_up"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "node.py").write_text("from made_up import used\n")
    (package / "used.py").write_text("X = 1\n")
    (package / "unused.py").write_text("Y = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code_version, "PACKAGES", ("made_up",))
    importlib.invalidate_caches()
    first = code_version.code_version("made_up.node")
    (package / "unused.py").write_text("Y = 2\n")
    assert code_version.code_version("made_up.node") == first
    (package / "used.py").write_text("X = 2\n")
    assert code_version.code_version("made_up.node") != first
    assert "made_up.used" not in sys.modules
