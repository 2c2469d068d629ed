"""`arcface_tfx`, the front for Python: its examples and the notebook run as they stand, on a small model."""

import ast
import collections
import doctest
import inspect
import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest

import arcface_tfx
from arcface_common.errors import DataError
from pipeline.runs.lock import run_lock
from tests.helpers import ROOT, jpeg, write_pairs, write_records

NOTEBOOK = ROOT / "docs" / "using_a_model.ipynb"
FACES = ("anna1.jpg", "anna2.jpg", "ben1.jpg")
# The threshold of FAR 0.01 rests on 3 of 300 pairs, as the examples say.
VERIFICATION = {
    "sets": {"lfw": {"threshold": 1.4, "pairs": 600}},
    "thresholds": {"lfw": {"0.01": {"threshold": 1.5, "tar": 0.5, "false_accepts": 3, "impostors": 300}}},
}


def test_importing_it_imports_nothing_heavy():
    code = "import sys, arcface_tfx; dir(arcface_tfx); print({'tensorflow', 'numpy', 'tfx'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout == "set()\n"


@pytest.mark.parametrize("name", ["pipeline.py", "serving.py", "components/__init__.py"])
def test_a_user_s_file_of_our_packages_names_is_named(tmp_path, name):
    """A script's own folder comes before ours."""
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True)
    own.write_text("")
    (tmp_path / "script.py").write_text("import arcface_tfx")
    result = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import script"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 1
    assert f"in {ROOT}. Received: {own}, which Python finds first; give that" in result.stderr.splitlines()[-1]


def test_all_names_are_there():
    for name in arcface_tfx.__all__:
        assert getattr(arcface_tfx, name).__doc__
    assert arcface_tfx.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = arcface_tfx.nothing


def test_an_unknown_setting_is_named(tmp_path):
    with pytest.raises(arcface_tfx.DataError, match="did you mean 'train.steps'"):
        arcface_tfx.configure(tmp_path, tmp_path / "root", "demo", train={"stepz": 3})
    with pytest.raises(arcface_tfx.DataError, match="expected a plain value as train.steps"):
        arcface_tfx.configure(tmp_path, tmp_path / "root", "demo", train={"steps": object()})
    with pytest.raises(arcface_tfx.DataError, match="expected a config, or the arguments of `configure` by name"):
        arcface_tfx.run()


def test_errors_name_arguments_and_no_flags(tmp_path, monkeypatch):
    write_records(tmp_path / "data", [0, 0, 1])
    write_pairs(tmp_path / "data", "cfp", 10)
    (tmp_path / "file").write_text("")
    (tmp_path / "model").mkdir()
    model = {"backbone": "iresnet18", "options": {}, "embedding_dim": 8, "classes": 2, "training": {}}
    pixels = {"colour": "rgb", "mean": 127.5, "scale": 128}
    (tmp_path / "model" / "model.json").write_text(json.dumps({**model, "pixel_format": pixels}))

    def configure(root="root", data="data", **given):
        return arcface_tfx.configure(tmp_path / data, tmp_path / root, **given)

    def run(root="root", **given):
        return arcface_tfx.run(configure(root=root, preset="demo", **given))

    def refused(call, expected):
        with pytest.raises(DataError) as raised:
            call()
        said = str(raised.value).partition("Received: ")[0].replace("e.g. --parallelism=8", "")  # an option of Beam's
        assert not re.search(r"(^|[\s`(])--[a-z]", said), raised.value
        assert expected in str(raised.value)

    refused(configure, "expected preset, train.backbone to train")
    refused(lambda: configure(preset="finetune"), "expected init_from, which names")
    refused(lambda: configure(root="file", preset="demo"), "root=")
    refused(lambda: configure(root="a*", preset="demo"), "root must be a path without '*'")
    refused(lambda: arcface_tfx.configure("s3://u:p@h/d", tmp_path, "demo"), "data: expected a path without a password")
    given = {"init_from": tmp_path / "model", "train": {"backbone": "iresnet34"}}
    refused(lambda: configure(**given), "no setting that init_from decides")
    refused(lambda: configure(preset="demo", beam_runner="x"), "beam_runner: expected one of")
    refused(lambda: configure(preset="demo", beam_args=["x"]), "beam_args: expected --NAME=VALUE")
    refused(lambda: configure(preset="demo", beam_runner="flink"), "beam_runner=flink: expected beam_args=--")
    refused(run, "judge by the first with evaluation.sets=cfp")
    judged = {"evaluation": {"sets": ["cfp"], "conditions": ["cfp.accuracy >= 0"]}}
    refused(lambda: run(train={"batch_size": 10**6}, **judged), "and train.check_memory=false goes on")
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}')
    refused(lambda: run(**judged), "join them with train.join_cluster=true")
    monkeypatch.delenv("TF_CONFIG")
    with run_lock(str(tmp_path / "held")):
        refused(lambda: run(root="held", **judged), "(wait waits for its end)")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a model of 16 dimensions, faces, and a data set with 20 pairs."""
    from arcface_common.artifacts import EXTRA, VERIFICATION_FILE
    from arcface_common.features import PixelFormat
    from arcface_common.model_metadata import ModelMetadata
    from serving import export
    from trainer_module import backbones

    folder = tmp_path_factory.mktemp("front")
    backbone = backbones.build("iresnet_tiny", embedding_dim=16)
    metadata = ModelMetadata("iresnet_tiny", {}, 16, PixelFormat(), 2, {})
    export.export_saved_model(backbone, str(folder / "model"), metadata)
    (folder / "model" / EXTRA / VERIFICATION_FILE).write_text(json.dumps(VERIFICATION))
    for number, name in enumerate(FACES):
        (folder / name).write_bytes(jpeg(number))
    write_records(folder / "data", [0, 0, 1])
    write_pairs(folder / "data", "lfw", 20)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["arcface_tfx.evaluation", "arcface_tfx.models", "arcface_tfx.runs", "serving.local"]
)
def test_examples(world, monkeypatch, module):
    monkeypatch.chdir(world)
    names = {name: getattr(arcface_tfx, name) for name in arcface_tfx.__all__}
    names["model"] = arcface_tfx.load("model")
    __import__(module)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    tests = [test for test in finder.find(sys.modules[module], extraglobs=names) if test.examples]
    said = io.StringIO()
    for test in tests:
        runner.run(test, out=said.write)
    assert tests and not runner.failures, said.getvalue()


@pytest.mark.slow
def test_tensorflow_says_nothing_of_this_machine(world):
    code = (
        "import sys, arcface_tfx; model = arcface_tfx.load(sys.argv[1]); print(len(model.embed(sys.argv[2])));"
        "sys.stderr.write('heard'); arcface_tfx.LocalModel"
    )
    command = [sys.executable, "-c", code, str(world / "model"), str(world / FACES[0])]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    assert (result.stdout, result.stderr) == ("1\n", "heard")


@pytest.mark.slow
def test_a_wrong_argument_is_named(world):
    model = arcface_tfx.load(world / "model")
    face = str(world / FACES[0])
    an_image = r"a path, the bytes of a JPEG or PNG, or uint8 \[height, width, 3\]"
    for call, message in (
        (lambda: model.embed(jpeg(1, 99)), r"112x112 face \(align takes photos, resize other sizes\)"),
        (lambda: model.embed(None), f"images: expected one of {an_image}, or several. Received: NoneType"),
        (lambda: model.embed([face, 3]), f"image 1: expected {an_image}. Received: int"),
        (lambda: model.verify([face], face, 0.5), f"image 0: expected {an_image}. Received: list"),
        (lambda: model.embed(face, batch_size="4"), "batch_size: expected a whole number of at least 1. Received: '4'"),
        (lambda: model.verify(face, face, far="1e-2"), "far: expected a number, or None. Received: '1e-2'"),
        (lambda: model.verify(face, face, far=0.5), "expected a false accept rate of 0.01. Received: 0.5"),
        (lambda: model.embed(["nope.jpg"]), "nope.jpg: expected a file. Received: No such file or directory"),
        (lambda: model.embed(["nope.jpg"], align=True), "nope.jpg: expected .* Received: .*[Nn]o such file"),
        (lambda: model.embed(["a\0b"]), f"image 0: expected {an_image}. Received: str"),
        (lambda: model.embed("", align=True), f"image 0: expected {an_image}. Received: str"),
        (lambda: model.embed({face: 1}), "images: expected one of .*, or several. Received: dict"),
        (lambda: model.embed({face}), "images: expected one of .*, or several. Received: set"),
        (lambda: arcface_tfx.evaluate(3, world / "data"), "model: expected a path, or what `load` gave. Received: 3"),
        (lambda: arcface_tfx.evaluate(model, world / "no"), "no: expected a folder of verification sets. Received: no"),
        (lambda: arcface_tfx.evaluate(model, world / "data", sets="lwf"), "lwf.bin: expected a verification set. Rec"),
        (lambda: arcface_tfx.load(face), "expected the folder of a model. Received: a file"),
        (lambda: model.embed(np.zeros((112, 112), np.uint8)), r"RGB. Received: uint8 \[112, 112\]"),
        (lambda: model.embed([np.zeros((112, 112, 3))], align=True), r"RGB. Received: float64 \[112, 112, 3\]"),
        (lambda: model.embed([np.zeros((0, 9, 3), np.uint8)], align=True), "expected at least 1 pixel. Received: none"),
        (lambda: model.embed([np.ma.zeros((112, 112, 3), np.uint8)]), "RGB. Received: masked uint8"),
        (lambda: arcface_tfx.evaluate(model, world / "data", folds="x"), "folds: expected one of .* Received: 'x'"),
        (
            lambda: arcface_tfx.evaluate(model, world / "data", sets=[]),
            "sets: expected a name, or a list",
        ),
        (
            lambda: arcface_tfx.search([[1, 0]], [[1, 0]], names={"anna"}),
            "names in the gallery's order.* Received: set",
        ),
        (lambda: arcface_tfx.search([[1, 0]], [[1, 0]], names="a"), "names in the gallery's order.* Received: str"),
    ):
        with pytest.raises(arcface_tfx.DataError, match=message):
            call()
    assert list(arcface_tfx.evaluate(model, world / "data", sets="lfw")) == ["lfw"]
    assert model.verify(face, face, np.float32(0.5)).same
    assert len(model.embed([face, face], batch_size=np.int64(1))) == 2


HOSTILE = (
    5,
    -1,
    1e400,
    True,
    "",
    "\0",
    "nope",
    b"",
    None,
    [],
    [5],
    [[]],
    ["x", None],
    {},
    {"a": 1},
    {5},
    object(),
    len,
)


@pytest.mark.slow
def test_any_argument_of_any_call_is_either_taken_or_refused_in_our_words(world, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    model = arcface_tfx.load(world / "model")
    face, unit = str(world / FACES[0]), np.eye(2)
    calls = {
        arcface_tfx.load: {"path": world / "model"},
        arcface_tfx.configure: {"data": "data", "root": "root", "preset": "demo", "train": {}, "other": {}},
        arcface_tfx.run: {"config": None, "data": "data", "root": "root", "preset": "demo"},
        arcface_tfx.evaluate: {"model": model, "data": world / "data"},
        arcface_tfx.search: {"gallery": unit, "probes": unit},
        model.embed: {"images": face},
        model.embed_iter: {"images": face},
        model.threshold: {},
        model.verify: {"a": face, "b": face},
    }
    refused = collections.Counter()
    for call, usual in calls.items():
        for name in {*inspect.signature(call).parameters, *usual} - {"settings", "configuration"}:
            for value in HOSTILE:
                if call is arcface_tfx.run and name == "wait":
                    continue  # nothing is wrong with it that a run would not come after
                try:
                    call(**{**usual, name: value})
                except DataError as error:
                    assert str(error)
                    refused[call.__name__, name] += 1
    for (call, name), count in refused.items():
        assert count >= len(HOSTILE) / 2, (call, name)


@pytest.mark.slow
def test_a_model_in_a_forked_process_is_an_error_and_no_wait(world):
    model = arcface_tfx.load(world / "model")
    face = str(world / FACES[0])
    read, write = os.pipe()
    if not (child := os.fork()):
        for call in (lambda: model.embed(face), lambda: model.verify(face, face, 0.5)):
            try:
                call()
            except arcface_tfx.DataError as error:
                os.write(write, f"{error}\n".encode())
        os._exit(0)
    os.close(write)
    with open(read) as said:
        lines = said.read().splitlines()
    os.waitpid(child, 0)
    assert len(lines) == 2
    assert all(f"Received: a call in {child}, forked from it" in line for line in lines)


@pytest.mark.slow
def test_the_notebook(world, monkeypatch, tmp_path):
    demo = tmp_path / "build" / "demo"
    (demo / "serving").mkdir(parents=True)
    (demo / "serving" / "arcface").symlink_to(world / "model")
    (demo / "data").symlink_to(world / "data")
    (demo / "faces").mkdir()
    for name in FACES:
        (demo / "faces" / name).symlink_to(world / name)
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)  # made by whoever runs it
    names: dict = {}
    said = io.StringIO()
    shown = []
    with redirect_stdout(said):
        for cell in cells:
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, str(NOTEBOOK), "exec"), names)
            if last is not None:
                shown.append(eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names))
    assert shown[0] == 16
    assert list(shown[1]) == list(FACES)
    np.testing.assert_allclose(np.diag(shown[2]), 1, atol=0.01)
    assert "FAR 0.01 on lfw: 3 of 300 pairs" in said.getvalue()
    assert "needs 1,000 pairs" in said.getvalue()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a.load(None), "path: expected a path. Received: None"),
        (lambda a: a.configure("data", 3), "root: expected a path. Received: 3"),
        (lambda a: a.configure("data", "root", "demo", train=3), r"train: expected settings by name, .*Received: 3"),
        (lambda a: a.configure("", "root"), "data: expected a path. Received: ''"),
        (lambda a: a.configure("data", ""), "root: expected a path. Received: ''"),
        (lambda a: a.configure("data", "root", init_from=""), "init_from: expected a path, or None. Received: ''"),
        (lambda a: a.configure("data", "root", preset=5), "preset: expected a name, or None. Received: 5"),
        (lambda a: a.configure("data", "root", presett="demo"), "presett: expected .*; did you mean 'preset'"),
        (lambda a: a.configure("data", "root", trian={"steps": 1}), "trian: expected .*; did you mean 'train'"),
        (lambda a: a.configure("data", "root", "demo", beam_args=[5]), "beam_args: expected a list of text. Received"),
        (lambda a: a.configure("data", "root", "demo", beam_args="--password=hunter2"), "list of text. Received: str$"),
        (lambda a: a.run(5), "config: expected what `configure` gave, or None. Received: 5"),
        (lambda a: a.run(wait="no"), "wait: expected True or False. Received: 'no'"),
        (lambda a: a.evaluate("model", "data", sets=[3]), r"sets: expected a name, or a list .* Received: \[3\]"),
        (lambda a: a.evaluate("model", "data", sets=5), r"sets: expected a name, or a list .* Received: 5"),
        (
            lambda a: a.search([[1, 2], [3]], [[1, 0]]),
            r"expected gallery \[N, D\] of numbers. Received: .*inhomogeneous",
        ),
        (lambda a: a.evaluate("model", None), "data: expected a path. Received: None"),
        (lambda a: a.search([[1, 0]], [[1, 0]], top=1.5), "top: expected a whole number of at least 1. Received: 1.5"),
    ],
)
def test_wrong_kinds_of_arguments_are_said_in_words(call, message):
    with pytest.raises(DataError, match=message):
        call(arcface_tfx)
