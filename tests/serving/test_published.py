"""Published models given for one of ours: the error says which command imports them, wherever a model is taken."""

import pytest
from click.testing import CliRunner

import arcface_tfx
from arcface_common.errors import DataError
from pipeline.cli import main
from serving.published import how_to_import
from tests.helpers import jpeg, write_pairs, write_records

MXNET, ONNX = "import-mxnet {}/mx/model 3 OUT", "import-onnx {}/onnx/w600k_r50.onnx OUT"


@pytest.fixture
def world(tmp_path):
    for name in ("mx/model-symbol.json", "mx/model-0000.params", "mx/model-0003.params", "mx/model-v2-0009.params"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "w600k_r50.onnx").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.json").write_text("{}")
    write_records(tmp_path / "data", [0, 0, 1])
    write_pairs(tmp_path / "data", "lfw", 10)
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("mx", MXNET),
        ("mx/model-symbol.json", MXNET),
        ("mx/model-0000.params", MXNET),
        ("onnx", ONNX),
        ("onnx/w600k_r50.onnx", ONNX),
        ("other", ""),
        ("other/model.json", ""),
        ("a.jpg", ""),
        ("nothing", ""),
    ],
)
def test_the_command_is_named(world, path, expected):
    advice = f"; `arcface-tfx {expected.format(world)}` makes a model's folder of it" if expected else ""
    assert how_to_import(f"{world}/{path}") == advice


def test_a_path_is_shown_as_it_was_written(world, monkeypatch):
    monkeypatch.chdir(world / "onnx")
    (world / "onnx" / "a b.onnx").write_text("")
    assert how_to_import("w600k_r50.onnx").startswith("; `arcface-tfx import-onnx w600k_r50.onnx OUT`")
    assert how_to_import(".").startswith("; `arcface-tfx import-onnx './a b.onnx' OUT` (or another of 2)")
    monkeypatch.chdir(world / "mx")
    assert how_to_import("model-symbol.json").startswith("; `arcface-tfx import-mxnet model 3 OUT`")


TAKES_A_FOLDER = {
    "run": ["--data", "data", "--root", "root", "--init-from", "MODEL"],
    "run by a setting": ["--data", "data", "--root", "root", "--set", "train.init_from=MODEL"],
    "evaluate sets": ["MODEL", "--data", "data"],
    "evaluate folder": ["MODEL", "data"],
    "evaluate search": ["MODEL", "--gallery", "data", "--probes", "data"],
    "embed": ["MODEL", "a.jpg"],
    "verify": ["MODEL", "a.jpg", "a.jpg"],
}


@pytest.mark.parametrize("path", ["mx", "onnx", "mx/model-symbol.json", "onnx/w600k_r50.onnx"])
@pytest.mark.parametrize("command", TAKES_A_FOLDER)
def test_every_command_says_it(world, command, path, monkeypatch, capfd):
    if command.startswith("evaluate") and path.endswith(".onnx"):
        return  # takes it as it is
    monkeypatch.chdir(world)
    arguments = [word.replace("MODEL", path) for word in TAKES_A_FOLDER[command]]
    result = CliRunner().invoke(main, [*command.removesuffix(" by a setting").split(), *arguments])
    told = result.output + capfd.readouterr().err
    assert result.exit_code == 2, told
    assert (
        f"`arcface-tfx import-{'mxnet mx/model 3' if path.startswith('mx') else 'onnx onnx/w600k_r50.onnx'} OUT`"
        in told
    )


@pytest.mark.parametrize("path", ["mx", "onnx/w600k_r50.onnx"])
def test_python_says_it(world, path):
    model = world / path
    for call in (
        lambda: arcface_tfx.load(model),
        lambda: arcface_tfx.evaluate(model, world / "data"),
        lambda: arcface_tfx.configure(world / "data", world / "root", init_from=model),
    ):
        with pytest.raises(DataError, match=r"`arcface-tfx import-(mxnet|onnx) .* OUT`"):
            call()
