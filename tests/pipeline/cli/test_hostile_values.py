"""Whatever is typed, no command ends in a traceback: each option of each command is given hostile values.

In one process and without TensorFlow: what is wrong with an argument is said before anything slow is imported.
"""

import os
import sys

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.helpers import jpeg, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A sound data set, an image, folders of faces, and what is none of these."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    for name in ("a", "b"):
        (folder / "faces" / name).mkdir(parents=True)
        (folder / "faces" / name / "1.jpg").write_bytes(jpeg(2))
    (folder / "folder").mkdir()
    (folder / "file").write_text("x")
    (folder / "pairs.txt").write_text("a/1.jpg b/1.jpg 0\n")
    (folder / "badinit").mkdir()
    (folder / "badinit" / "model.json").write_text("{")
    (folder / "dangling").symlink_to("nothing")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    return folder


@pytest.fixture(autouse=True)
def _in_the_world(world, monkeypatch):
    monkeypatch.chdir(world)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # importing it fails


# A sound call of each command; `folder` stands where a model is wanted, and is never reached.
SOUND = {
    "synth": ["new"],
    "inspect": ["data"],
    "align": ["faces", "new"],
    "convert": ["faces", "new"],
    "unpack": ["lfw.bin", "new"],
    "evaluate sets": ["folder", "--data", "data"],
    "evaluate folder": ["folder", "faces"],
    "evaluate search": ["folder", "--gallery", "faces", "--probes", "faces"],
    "import-mxnet": ["prefix", "0", "new"],
    "import-onnx": ["file", "new"],
    "export": ["folder", "--output", "new.onnx"],
    "run": ["--data", "data", "--root", "new", "--preset", "demo"],
    "runs follow": ["5e1f7a0c"],
    "compile": ["--output", "new.yaml", "--data", "gs://b/d", "--root", "gs://b/r", "--image", "i", "--preset", "demo"],
    "embed": ["folder", "face.jpg"],
    "verify": ["folder", "face.jpg", "face.jpg"],
    "serve": ["folder"],
    "presets": [],
    "settings": [],
    "runs": ["--root", "folder"],
    "runs show": ["2026", "--root", "folder"],
    "runs diff": ["2026", "2026", "--root", "folder"],
    "gc": ["--root", "folder"],
}
NO_FILE_TO_READ = ["", "nothing", "folder", "fifo", "dangling", "loop", "/dev/zero", "file/below", "n" * 300, "a\nb"]
NO_FOLDER_TO_READ = ["", "nothing", "file", "fifo", "dangling", "loop", "/dev/zero", "file/below", "n" * 300, "a\nb"]
NO_FILE_TO_WRITE = ["", "folder", "fifo", "/dev/full", "file/below", "/proc/x/y", "n" * 300, "folder/"]
NO_FOLDER_TO_WRITE = ["", "file", "fifo", "file/below", "dangling", "/proc/x/y", "n" * 300]
NO_NUMBER = ["", "nan", "inf", "-inf", "1e999", "much", "-1", "0x10", "٣٫"]
NO_INTEGER = ["", "nan", "1.5", "-1", "much", "1e3"]
NO_SETTING = [
    "",
    "=",
    "train",
    "train.=1",
    ".steps=1",
    "train.steps",
    "train.steps=",
    "train.steps=nan",
    "train.steps=1" + "0" * 400,
    "train.steps=" + "9" * 5000,
    "train.steps=[1]",
    "train.steps={a: 1",
    "train.steps=*x",
    "train.steps=!!python/object:os.system {}",
    "train.steps=2026-02-31",
    "train.learning_rate=.nan",
    "train.learning_rate=-.inf",
    "train.batch_size=2000000000",
    "train.backbone=iresnet51",
    "train.backbone=no.such.module:f",
    "train.backbone={a: b}",
    "train.backbone_options={dropout: 0.1",
    "train.backbone_options={1: {2: 3}}",
    "train.backbone_options=" + "[" * 3000,
    "train.backbone_options={a: &x [*x]}",
    "train.backbone_options.depth=3",
    "train.norm=bach",
    "train.init_from=\x01",
    "train.join_cluster=true",
    "evaluation.sets=lwf",
    "evaluation.sets=../../etc/passwd",
    "evaluation.sets=[[lfw]]",
    "evaluation.conditions=[lfw.accuracy >= nan]",
    "ingest.holdout=nan",
    "ingest.verify_identities=nan",
    "evaluation.verify_pairs=30",
    "ingest.seed=-1",
    "ingest.shard_mb=0",
    "ingest.on_bad_record=explode",
]
NO_BEAM_ARG = [
    "",
    "--",
    "x",
    "--=1",
    "--runner=x",
    "--nonsense=1",
    "--s3_secret_access_key=x",
    "--direct_num_workers=x",
]

# Command -> option, or position of an argument in the sound call -> values.
NO_MODEL = ["", "nothing", "fifo", "loop", "n" * 300]
# Options of everything that evaluates.
EVALUATED = {
    "--output": [*NO_FILE_TO_WRITE, "figures.csv", "figures"],
    "--report": [*NO_FILE_TO_WRITE, "page.txt", "page"],
    "--mean": NO_NUMBER[:6],
    "--scale": [*NO_NUMBER, "0"],
    "--size": NO_INTEGER,
    "--layout": ["", "nwhc"],
    "--colour": ["", "grey"],
}
# Of `run` and `compile`.
OF_A_PIPELINE = {
    "--config": NO_FILE_TO_READ,
    "--holdout": [*NO_NUMBER, "0.51"],
    "--verify-identities": [*NO_NUMBER, "0.51"],
    "--min-images-per-identity": [*NO_INTEGER, "0"],
    "--on-bad-record": ["", "explode"],
    "--beam-runner": ["", "nowhere", "flink"],
    "--beam-arg": NO_BEAM_ARG,
}
OF_A_CLUSTER = {
    "--host": [
        "",
        "host",
        "ftp://host",
        "http://",
        "http://h:x",
        "http://u:p@host",
        "http://h/ x",
        "http://h/#/runs",
        "http://h?a=b",
    ],
    "--token-file": NO_FILE_TO_READ,
    "--ca-cert": NO_FILE_TO_READ,
    "--namespace": ["faces"],
}
OF_A_SERVER = {
    "--server": ["", "host", "host:65536", "ftp://host:1", "host:1/path"],
    "--token-file": NO_FILE_TO_READ,
    "--ca-cert": NO_FILE_TO_READ,
}
HOSTILE: dict[str, dict[str | int, list[str]]] = {
    "synth": {
        0: NO_FOLDER_TO_WRITE,
        "--sheet": [*NO_FILE_TO_WRITE, "face.jpg", "sheet"],
        "--samples": NO_FOLDER_TO_WRITE,
        "--identities": NO_INTEGER,
        "--images": NO_INTEGER,
        "--pairs": [*NO_INTEGER, "7"],
        "--seed": NO_INTEGER,
    },
    "inspect": {0: NO_FOLDER_TO_READ},
    "align": {
        0: NO_FOLDER_TO_READ,
        1: ["folder", *NO_FOLDER_TO_WRITE],
        "--detector": ["", "mtcn", "no.such.module:f", "os:nothing"],
        "--which": ["", "any"],
        "--min-score": [*NO_NUMBER, "1.01"],
        "--min-face": [*NO_INTEGER, "0"],
        "--max-upscale": [*NO_NUMBER, "0"],
        "--max-padding": [*NO_NUMBER, "1.01"],
        "--max-side": [*NO_INTEGER, "19"],
        "--max-pixels": [*NO_INTEGER, "0"],
        "--processes": [*NO_INTEGER, "0"],
        "--beam-runner": ["", "nowhere"],
        "--beam-arg": NO_BEAM_ARG,
    },
    "convert": {
        0: NO_FOLDER_TO_READ,
        1: NO_FOLDER_TO_WRITE,
        "--pairs": NO_FILE_TO_READ,
        "--verify-identities": [*NO_NUMBER, "0", "1.01"],
        "--hard": [*NO_NUMBER, "1.01"],
        "--seed": NO_INTEGER,
        "--set-name": ["", "a/b", "lfw", "n" * 300],
    },
    "unpack": {0: NO_FILE_TO_READ, 1: ["folder", *NO_FOLDER_TO_WRITE]},
    "evaluate sets": {
        0: NO_MODEL,
        "--data": NO_FOLDER_TO_READ,
        "--sets": ["lwf", "../x", ",", "\n"],
        "--compare": ["", "nothing", "fifo"],
        "--folds": ["", "random"],
        **EVALUATED,
    },
    "evaluate folder": {0: NO_MODEL, 1: ["faces", *NO_FOLDER_TO_READ], **EVALUATED},
    "evaluate search": {
        0: NO_MODEL,
        "--gallery": ["faces", *NO_FOLDER_TO_READ],
        "--probes": ["faces", *NO_FOLDER_TO_READ],
        "--template": ["median", ""],
        **EVALUATED,
    },
    "import-mxnet": {0: ["", "nothing", "folder"], 1: NO_INTEGER, 2: NO_FOLDER_TO_WRITE},
    "import-onnx": {0: NO_FILE_TO_READ, 1: ["folder", *NO_FOLDER_TO_WRITE]},
    "export": {0: NO_MODEL, "--format": ["", "onxx"], "--output": [*NO_FILE_TO_WRITE, "face.jpg"]},
    "run": {
        "--data": NO_FOLDER_TO_READ,
        "--root": NO_FOLDER_TO_WRITE,
        "--init-from": ["badinit", "folder", *NO_FOLDER_TO_READ],
        "--preset": ["", "r5O"],
        "--set": NO_SETTING,
        "--engine": ["", "kubefow", "kubeflow"],
        "--image": ["i"],
        **OF_A_CLUSTER,
        **OF_A_PIPELINE,
    },
    "runs follow": {0: ["", "a/b", "../x", "\n"], **OF_A_CLUSTER},
    "compile": {
        "--output": [*NO_FILE_TO_WRITE, "face.jpg", "pipeline", "new.json"],
        "--for": ["", "vertx", "vertex"],
        "--data": ["https://u:p@host/x"],
        "--root": ["https://u:p@host/x", "hdfs://b/r", "runs"],
        "--image": ["", "x y", "a:b:c"],
        "--trainer": ["", "job", "trainjob"],  # the last one without a volume
        "--preset": ["", "r5O"],
        "--set": [
            text for text in NO_SETTING if "no.such" not in text and "batch_size" not in text and "lwf" not in text
        ],
        **OF_A_PIPELINE,
    },
    "embed": {
        0: NO_FOLDER_TO_READ,
        1: NO_FILE_TO_READ,
        "--output": [*NO_FILE_TO_WRITE, "out.json", "out", "out.npyz", ".npy"],
        "--batch-size": [*NO_INTEGER, "0"],
        **OF_A_SERVER,
    },
    "verify": {
        0: NO_FOLDER_TO_READ,
        1: NO_FILE_TO_READ,
        2: NO_FILE_TO_READ,
        "--threshold": [value for value in NO_NUMBER if value != "-1"] + ["1.01", "-1.01", "4"],
        "--far": [*NO_NUMBER, "0", "1", "0.1", "0.002"],
        **OF_A_SERVER,
    },
    "serve": {
        0: NO_FOLDER_TO_READ,
        "--host": ["", "nowhere.invalid", "1.2.3.4.5"],
        "--port": [*NO_INTEGER, "65536"],
        "--rest-port": [*NO_INTEGER, "65536"],
        "--model-name": ["", "a/b", "a:b"],
        "--batching-parameters-file": NO_FILE_TO_READ,
        "--num-versions": [*NO_INTEGER, "0"],
        "--version": NO_INTEGER,
        "--label": ["", "stable", "=1", "stable=x"],
        "--engine": ["", "tensorrt", "OpenVINO!"],
        "--poll-seconds": [*NO_NUMBER, "0"],
        "--max-body-mb": [*NO_INTEGER, "0", "2048"],
        "--max-rows": [*NO_INTEGER, "0"],
        "--timeout-seconds": [*NO_NUMBER, "0"],
        "--drain-seconds": NO_NUMBER,
        "--token-file": NO_FILE_TO_READ,
        "--tls-cert": NO_FILE_TO_READ,
        "--tls-key": NO_FILE_TO_READ,
    },
    "presets": {},
    "settings": {},
    "runs": {"--root": NO_FOLDER_TO_READ, "--last": [*NO_INTEGER, "0"]},
    "runs show": {0: ["", "20261124T073355", "/", ".."], "--root": NO_FOLDER_TO_READ},
    "runs diff": {0: ["", "/"], 1: ["", "/"], "--root": NO_FOLDER_TO_READ},
    "gc": {"--root": ["folder", *NO_FOLDER_TO_READ], "--keep": [*NO_INTEGER, "0"]},
}
# What takes any text, or none.
ANY = {
    "evaluate sets": {"--input", "--node", "--signature"},
    "evaluate folder": {"--input", "--node", "--signature"},
    "evaluate search": {"--input", "--node", "--signature"},
    "import-mxnet": {"--node"},
    "embed": {"--server-model"},
    "verify": {"--set-name", "--server-model"},
}


def _leaves(command, name):
    """A command and those below it, by the words that call them; a group that does nothing by itself is none."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield name, command
    if isinstance(command, click.Group):
        for below, of in command.commands.items():
            yield from _leaves(of, f"{name} {below}")


def _calls():
    for command, options in HOSTILE.items():
        for option, values in options.items():
            for value in values:
                arguments = list(SOUND[command])
                if isinstance(option, int):
                    arguments[option] = value
                elif option in arguments:
                    arguments[arguments.index(option) + 1] = value
                else:
                    arguments += [option, value]
                yield pytest.param([*command.split(), *arguments], id=f"{command} {option} {value[:40]!r}")


@pytest.mark.parametrize("arguments", list(_calls()))
def test_a_hostile_value_is_one_line_and_code_2(arguments, world, capfd):
    before = sorted(world.rglob("*"))
    result = CliRunner().invoke(main, arguments)
    told = result.output + capfd.readouterr().err
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2, told
    assert "Traceback" not in told
    [error] = [line for line in told.splitlines() if line.lower().startswith("error: ")]
    assert len(error) > 20
    assert sorted(world.rglob("*")) == before


def test_every_option_of_every_command_is_tried():
    for name, command in (leaf for top, of in main.commands.items() for leaf in _leaves(of, top)):
        options = {o for p in command.params if isinstance(p, click.Option) and not p.is_flag for o in p.opts[-1:]}
        tried = {option for option in HOSTILE[name] if isinstance(option, str)}
        assert options - ANY.get(name, set()) == tried, name
        positions = [p for p in command.params if isinstance(p, click.Argument)]
        assert {option for option in HOSTILE[name] if isinstance(option, int)} == set(range(len(positions))), name
