"""A backbone's name and options are judged without TensorFlow, as the real one would."""

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import trainer_module
from arcface_common.errors import DataError
from pipeline.checks.backbone import check_backbone
from trainer_module.backbone_facts import OPTION_RANGES, STAGE_LISTS
from trainer_module.settings import TrainSettings

OWN = """
import functools
def build(*, name, embedding_dim, dropout, norm, depth: int = 3, widths: "list" = (), shape=None): ...
def anything(**options): ...
made = functools.partial(build, depth=4)
if True:
    def inside(*, name, embedding_dim, dropout, norm): ...
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    package = tmp_path / "faces_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "nets.py").write_text(OWN)
    (package / "broken.py").write_text("def build(:")
    (package / "star.py").write_text("from .nets import *")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "faces_of_mine"


def _check(backbone, options=None, here=True, norm="batch"):
    check_backbone(TrainSettings(backbone=backbone, norm=norm, backbone_options=options or {}), here=here)


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        ("iresnet51", {}, "Received: 'iresnet51'; did you mean 'iresnet50'"),
        ("", {}, "train.backbone must be one of iresnet18, "),
        (
            "iresnet50",
            {"epsilom": 1e-5},
            "expected options of iresnet50: dropout, units, .*'epsilom'; did you mean 'epsilon'",
        ),
        (
            "iresnet50",
            {"epsilon": "1e-5"},
            "train.backbone_options.epsilon expects a value of type float. Received: '1e-5'",
        ),
        ("iresnet50", {"output_gamma": 1}, "train.backbone_options.output_gamma expects a value of type bool"),
        ("iresnet50", {"units": [1, 2.5]}, r"train.backbone_options.units expects a value of type Sequence\[int\]"),
        ("iresnet50", {"dropout": 1.0}, r"train.backbone_options.dropout must lie in \[0, 1\). Received: 1.0"),
        ("iresnet50", {"dropout": True}, "train.backbone_options.dropout must lie"),
        ("iresnet50", {"norm": "group"}, "expected norm as train.norm"),
        ("iresnet50", {"embedding_dim": 64}, "expected embedding_dim as train.embedding_dim"),
        ("mobilefacenet", {"name": "x"}, "expected options of mobilefacenet"),
        ("iresnet50", {"widths": [8]}, "expected lists of one entry a stage: 4 as iresnet50 .* Received: widths of 1"),
        ("iresnet50", {"widths": [], "units": []}, "expected lists of .* Received: widths of 0, units of 0"),
        ("mobilefacenet", {"widths": [8] * 4, "residuals": [1] * 4}, "expected lists of .* expansions of one length"),
        ("iresnet50", {"widths": [10**9] * 4}, r"options.widths must lie in 1 .. 65,536 each. Received: \[10000"),
        ("iresnet50", {"units": [100_000, 1, 1, 1]}, r"options.units must lie in 0 .. 1,000 each"),
        ("iresnet50", {"stem_stride": 0}, "options.stem_stride must lie in 1 .. 112. Received: 0"),
        ("iresnet50", {"stem_kernel": -1}, "options.stem_kernel must lie in 1 .. 112. Received: -1"),
        ("iresnet50", {"epsilon": 0}, "options.epsilon must lie in 1e-12 .. 1.0. Received: 0"),
        ("iresnet50", {"momentum": 5}, "options.momentum must lie in 0.0 .. 1.0. Received: 5"),
        ("nowhere.nets:build", {}, "expected a module on Python's path. Received: no 'nowhere' of 'nowhere.nets'"),
        ("faces_of_mine.net:build", {}, "Received: no 'faces_of_mine.net' of"),
        (":build", {}, "expected a module on Python's path. Received: no ''"),
        ("faces_of_mine.nets:biuld", {}, "expected a function 'biuld', .* Received: none; did you mean 'build'"),
        ("faces_of_mine.nets:", {}, "expected a function ''"),
        ("faces_of_mine.broken:build", {}, r"broken.py: expected Python, for train.backbone. Received: "),
        ("faces_of_mine.nets:build", {"depht": 3}, "did you mean 'depth'"),
        ("faces_of_mine.nets:build", {"depth": 3.5}, "train.backbone_options.depth expects a value of type int"),
        ("faces_of_mine.nets:inside", {"depth": 3}, "expected options of faces_of_mine.nets:inside: dropout. "),
    ],
)
def test_refusals(own, backbone, options, message):
    with pytest.raises(DataError, match=message):
        _check(backbone, options)


def test_an_unknown_norm():
    with pytest.raises(DataError, match="train.norm must be one of batch, .* did you mean 'batch'"):
        _check("iresnet50", norm="bach")


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("iresnet_tiny", {"dropout": 0.1, "epsilon": 1e-5, "units": [1, 1, 1], "output_epsilon": None}),
        ("iresnet_tiny", {"units": [1, 0], "widths": [8, 16]}),
        ("mobilefacenet_mbf", {"last_width": 256, "fc_bias": True}),
        ("faces_of_mine.nets:build", {"depth": 3, "widths": [1, 2], "shape": "any"}),
        ("faces_of_mine.nets:anything", {"whatever": 1}),
        ("faces_of_mine.nets:made", {"depth": 5}),
        ("faces_of_mine.star:build", {"depth": 5}),
        ("trainer_module.backbones.iresnet:iresnet", {"units": [1, 1, 1, 1]}),
    ],
)
def test_what_can_be_built(own, backbone, options):
    _check(backbone, options)


def test_another_machine_may_have_the_module():
    _check("nowhere.nets:build", here=False)


def test_the_check_imports_no_tensorflow():
    code = (
        "import sys; from pipeline.checks.backbone import check_backbone\n"
        "from trainer_module.settings import TrainSettings\n"
        "check_backbone(TrainSettings(backbone='trainer_module.backbones.iresnet:iresnet'), here=True)\n"
        "print('tensorflow' in sys.modules, 'trainer_module.backbones' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"


def test_each_number_among_the_options_has_a_range():
    for module, lists in STAGE_LISTS.items():
        tree = ast.parse((Path(trainer_module.__file__).parent / "backbones" / f"{module}.py").read_text())
        (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == module)
        kinds = {argument.arg: ast.unparse(argument.annotation) for argument in function.args.kwonlyargs}
        assert tuple(name for name, kind in kinds.items() if kind == "Sequence[int]") == lists
        numbers = {name for name, kind in kinds.items() if "int" in kind or "float" in kind}
        assert numbers - {"embedding_dim", "dropout"} <= set(OPTION_RANGES)


def test_each_backbone_and_norm_is_known_everywhere():
    from trainer_module import backbones, normalization
    from trainer_module.backbone_facts import BACKBONES, NORMS

    assert NORMS == normalization.NAMES
    assert set(BACKBONES) == set(backbones.names())
    meanings = {field.name: str(field) for field in dataclasses.fields(TrainSettings)}
    assert [name for name in BACKBONES if name not in meanings["backbone"]] == []
    assert [name for name in NORMS if name not in meanings["norm"]] == []


@pytest.mark.slow
def test_the_facts_are_those_of_the_real_networks():
    from trainer_module import backbones
    from trainer_module.backbone_facts import BACKBONES

    for name, facts in BACKBONES.items():
        network = backbones.build(name)
        assert (facts.embedding_dim, facts.parameters) == (network.output_shape[-1], network.count_params()), name


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "batch"), [("iresnet_tiny", 256), ("mobilefacenet", 48)])
def test_a_real_step_takes_what_the_estimate_says(backbone, batch):
    from benchmarks.training_memory import peak
    from trainer_module.backbone_facts import step_bytes

    imports, most = peak(backbone, batch, 1000)
    expected = step_bytes(TrainSettings(backbone=backbone, batch_size=batch), 1000, batch)
    # Kernels of other instruction sets keep other copies: what matters is that no factor is off.
    assert 0.6 < (most - imports) / expected < 1.4


@pytest.mark.slow
def test_four_micro_batches_peak_as_one():
    from benchmarks.training_memory import peak

    (_, alone), (_, parts) = (peak("mobilefacenet", 16 * count, 1000, accumulate=count) for count in (1, 4))
    assert parts < 1.25 * alone


@pytest.mark.slow
def test_a_step_of_512_images_and_85742_identities_holds_eight_matrices():
    """Of 512 x 85,742 numbers, as many as the class centres have; docs/how-to/training.md names them."""
    from benchmarks.training_memory import peak

    imports, most = peak("benchmarks.train_step:pooled", 512, 85_742)
    assert 5 < (most - imports) / (4 * 512 * 85_742) < 8.5


def test_a_function_of_python_is_no_backbone():
    with pytest.raises(DataError, match="train.backbone: expected a function of your own. Received: 'os:system'"):
        check_backbone(TrainSettings(backbone="os:system"), here=True)
