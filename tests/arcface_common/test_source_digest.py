"""The digest changes with what a node runs, and with nothing else."""

import importlib
import importlib.util
import sys

import pytest

from arcface_common import source_digest
from arcface_common.errors import DataError


def test_closure_follows_imports_of_this_project_only():
    files = source_digest.source_files("trainer_module.run_fn", "trainer_module.workers.worker")
    assert {
        "trainer_module.training.loop",
        "trainer_module.data.images",
        "trainer_module.backbones.iresnet",
    } <= set(files)
    assert not [name for name in files if name.startswith(("components", "pipeline", "evaluator_custom", "serving"))]


def test_another_signature_exports_anew_and_does_not_train_anew():
    signatures = {"serving.signatures", "serving.export"}
    assert signatures <= set(source_digest.source_files("serving.exporter.executor"))
    assert not signatures & set(source_digest.source_files("components.trainer.executor"))


def test_evaluator_depends_on_protocol_and_metrics_but_not_on_training():
    files = source_digest.source_files("evaluator_custom.component", "evaluator_custom.tfma_bridge.embed_pairs")
    assert {
        "arcface_common.protocol.insightface",
        "evaluator_custom.tfma_bridge.metrics",
        "evaluator_custom.tfma_bridge.embed_pairs",
    } <= set(files)
    of_modules = ("evaluator_custom.report.page", "arcface_common.pages")
    templates = {path.name for name in of_modules for path in source_digest._data_files(files[name])}
    assert {"evaluation.html", "set.html", "page.html", "style.css"} <= templates
    assert "trainer_module.training.loop" not in files
    assert "components.formats.recordio" not in files


def test_unknown_module():
    with pytest.raises(ModuleNotFoundError, match="Received: 'trainer_module.nothing'"):
        source_digest.source_digest("trainer_module.nothing")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of the package `made_up`, which counts as this project's: `node` imports `used`, never `unused`."""
    folder = tmp_path / "made_up"
    _write(folder / "inner", **{"__init__": "Z = 1\n", "used": '"""Words."""\nX = 1  # one\n'})
    _write(folder, **{"__init__": "W = 1\n", "node": "from made_up.inner import used\n", "unused": "Y = 1\n"})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source_digest, "PACKAGES", ("made_up",))
    importlib.invalidate_caches()
    return folder


def _write(folder, **modules):
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("inner/used", "X = 2\n"),
        ("node", "from made_up.inner import used\nused.X += 1\n"),
        ("__init__", "W = 2\n"),
        ("inner/__init__", "Z = 2\n"),
    ],
)
def test_digest_follows_the_code(package, module, source):
    first = source_digest.source_digest("made_up.node")
    (package / f"{module}.py").write_text(source)
    assert source_digest.source_digest("made_up.node") != first
    assert "made_up.inner.used" not in sys.modules


@pytest.mark.parametrize(
    ("module", "source"),
    [("unused", "Y = 2\n"), ("inner/used", '"""Other\nwords."""\n\nX = (1)  # the same\n'), ("node.txt", "data")],
)
def test_digest_follows_nothing_else(package, module, source):
    first = source_digest.source_digest("made_up.node")
    (package / f"{module}.py").write_text(source)
    assert source_digest.source_digest("made_up.node") == first


def test_docstrings_of_all_kinds_are_left_out_and_other_texts_are_not(package):
    source = (
        'class A:\n    """{0}"""\n    def f(self):\n        """{0}"""\n        return {1!r}\n'
        '    async def g(self):\n        "{0}"\n'
    )
    versions = []
    for words, value in (("one", "a"), ("two", "a"), ("one", "b")):
        _write(package / "inner", used=source.format(words, value))
        versions.append(source_digest.source_digest("made_up.node"))
    assert versions[0] == versions[1] != versions[2]


def test_a_settings_words_are_left_out_and_its_range_is_not(package):
    versions = []
    for words, least in (("one", 0), ("two", 0), ("one", 1)):
        field = f"from pydantic import Field\n\nX: int = Field(default=3, ge={least}, description={words!r})\n"
        _write(package / "inner", used=field)
        versions.append(source_digest.source_digest("made_up.node"))
    assert versions[0] == versions[1] != versions[2]


def test_what_a_person_reads_is_left_out_and_what_is_counted_is_not(package):
    source = (
        "from arcface_common.console import progress, say as tell\n"
        "def read(files):\n"
        "    tell(f'{0} {{len(files)}}')\n"
        "    if not files: raise ValueError(f'{0}', {1})\n"
        "    return [x for x in progress(files, total={1}, description='{0}')]\n"
    )
    versions = []
    for words, value in (("one", 1), ("two", 1), ("one", 2)):
        _write(package / "inner", used=source.format(words, value))
        versions.append(source_digest.source_digest("made_up.node"))
    assert versions[0] == versions[1] != versions[2]
    # A function of that name which is no console's counts with all that it is told.
    for words in ("one", "two"):
        _write(package / "inner", used=f"from made_up.inner.own import say\nsay({words!r})\n")
        versions.append(source_digest.source_digest("made_up.node"))
    assert versions[-2] != versions[-1]


def test_data_beside_a_module_that_reads_resources_counts(package):
    _write(package / "inner", used="import importlib.resources\n")
    (package / "inner" / "page.html").write_text("one")
    (package / "else.html").write_text("one")
    first = source_digest.source_digest("made_up.node")
    (package / "else.html").write_text("two")
    assert source_digest.source_digest("made_up.node") == first
    (package / "inner" / "page.html").write_text("two")
    assert source_digest.source_digest("made_up.node") != first


def test_what_only_talks_is_in_no_digest():
    for modules in (["trainer_module.run_fn"], ["components.record_example_gen.executor"], ["serving.pusher"]):
        files = source_digest.source_files(*modules)
        talk = {"arcface_common.console", "arcface_common.errors", "trainer_module.training.outlook"}
        assert not talk & set(files)
    for module in source_digest._WITHOUT_RESULT:
        assert importlib.util.find_spec(module), module


def test_an_own_backbone_counts_with_what_it_imports_from_its_package(tmp_path, monkeypatch):
    folder = tmp_path / "own_faces"
    _write(folder, **{"__init__": "", "net": "import numpy\nfrom . import layers\nfrom unknown import x\n"})
    _write(folder, **{"layers": "WIDTH = 1\n", "unused": ""})
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()

    def version(backbone="own_faces.net:build"):
        return source_digest.source_digest("trainer_module.workers.worker", backbone=backbone)

    assert set(source_digest.source_files("own_faces.net", own="own_faces.net")) == {
        "own_faces",
        "own_faces.net",
        "own_faces.layers",
    }
    seen = [version("iresnet50"), version(), version("own_faces.layers:build")]
    for name, source in (("layers", "WIDTH = 2\n"), ("net", "from own_faces import layers\n"), ("__init__", "A = 1")):
        _write(folder, **{name: source})
        seen.append(version())
    assert len(set(seen)) == len(seen)
    _write(folder, unused="A = 1")
    assert version() == seen[-1]
    assert "own_faces" not in sys.modules


def test_an_own_backbone_in_no_package_counts_with_its_folder(tmp_path, monkeypatch):
    for folder in ("mine", "site-packages"):
        name = f"net_in_{folder.partition('-')[0]}"
        _write(tmp_path / folder, **{name: "import layers_beside\nimport yaml\n", "layers_beside": "A = 1\n"})
        monkeypatch.syspath_prepend(tmp_path / folder)
    importlib.invalidate_caches()
    assert set(source_digest.source_files("net_in_mine", own="net_in_mine")) == {"net_in_mine", "layers_beside"}
    assert set(source_digest.source_files("net_in_site", own="net_in_site")) == {"net_in_site"}


def test_an_own_backbone_that_is_not_here_or_no_python(tmp_path, monkeypatch):
    plain = source_digest.source_digest("trainer_module.workers.worker")
    assert source_digest.source_digest("trainer_module.workers.worker", backbone="nowhere.net:build") == plain
    (tmp_path / "torn_net.py").write_text("def build(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(DataError, match=r"torn_net\.py: expected a Python module. Received: invalid syntax"):
        source_digest.source_digest("trainer_module.workers.worker", backbone="torn_net:build")
