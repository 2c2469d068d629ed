"""What is edited decides which nodes run again: words none, a line of maths those whose result depends on it."""

import shutil

import pytest

from arcface_common import source_digest
from arcface_common.packages import PACKAGES
from pipeline.node_code import NODE_MODULES, node_code
from tests.helpers import ROOT


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project's packages."""
    folder = tmp_path_factory.mktemp("project")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def run_again(copy, monkeypatch):
    """A function that edits the copy and tells which nodes' digests are others then."""
    monkeypatch.setattr(source_digest, "_package_folders", lambda package: [copy / package])

    def edited(file, old, new):
        before = {node: node_code(node) for node in NODE_MODULES}
        source = (copy / file).read_text()
        assert source.count(old) == 1, (file, old)
        (copy / file).write_text(source.replace(old, new))
        after = {node: node_code(node) for node in NODE_MODULES}
        (copy / file).write_text(source)
        return {node for node in NODE_MODULES if before[node] != after[node]}

    return edited


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("trainer_module/heads/margins.py", "an additive angular margin", "a margin added to the angle"),
        ("components/record_example_gen/write.py", 'description="ingest"', 'description="taking in"'),
        ("trainer_module/training/hooks/judge.py", ": held-out top-1", ": top-1 of what is held out"),
        ("components/anomaly_gate.py", "expected examples that the schema", "expected what the schema"),
        ("trainer_module/settings.py", "Mirror half of the images.", "Half of the images are mirrored."),
        ("serving/published.py", "makes a model's folder", "makes a folder"),
        ("arcface_common/errors.py", "expected a JSON object", "expected an object"),
    ],
)
def test_words_run_nothing_again(run_again, file, old, new):
    assert run_again(file, old, new) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "nodes"),
    [
        ("trainer_module/heads/margins.py", "_TINY = 1e-9", "_TINY = 1e-8", {"Trainer"}),
        ("trainer_module/preprocessing.py", "num_oov_buckets=0", "num_oov_buckets=1", {"Transform"}),
        ("components/record_example_gen/plan.py", "_MAX_READ = 1 << 16", "_MAX_READ = 1 << 15", {"RecordExampleGen"}),
        (
            "arcface_common/protocol/folds.py",
            "np.arange(0, 4, 0.01)",
            "np.arange(0, 4, 0.02)",
            {"VerificationEvaluator"},
        ),
        (
            "serving/check.py",
            ".run(SERVING, ",
            ".run(str(SERVING), ",
            {"Pusher"},
        ),
        # The others run the graph that it exports.
        ("serving/signatures.py", "l2_normalize(raw, axis=1)", "l2_normalize(raw, axis=0)", {"Exporter"}),
        ("components/formats/verification_bin.py", "return len(self.is_same)", "return 0", {"PairExampleGen"}),
    ],
)
def test_maths_runs_again_what_depends_on_it(run_again, file, old, new, nodes):
    assert run_again(file, old, new) == nodes
