"""The Dockerfile: what it copies is there, and what each target is made of."""

import pytest

from tests.helpers import ROOT
from tools import image

STAGES = image.read((ROOT / "Dockerfile").read_text())
BY_NAME = {stage.name: stage for stage in STAGES}
TARGETS = ("serve", "pipeline-gpu", "pipeline")


def _copied():
    """What stages copy from the working tree."""
    copies = [step.rest.split() for stage in STAGES for step in stage.steps if step.word == "COPY"]
    return {source for words in copies if not words[0].startswith("--from=") for source in words[:-1]}


def test_what_it_copies_is_there_and_goes_to_the_builder():
    taken = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / source).exists() for source in _copied())
    assert _copied() == taken


def test_a_target_is_made_of_its_own_packages_alone():
    made_of = {target: {stage.name for stage in image.needed(STAGES, [target])} for target in TARGETS}
    shared = {"tools", "wheel", "base"}
    assert made_of == {
        "serve": shared | {"serve-packages", "serve"},
        "pipeline-gpu": shared | {"gpu-packages", "pipeline-gpu"},
        "pipeline": shared | {"pipeline-packages", "pipeline"},
    }
    assert STAGES[-1].name == "pipeline"  # what `docker build` makes without a target


def test_no_image_holds_a_tool_of_the_build_and_the_user_is_a_number():
    for target in TARGETS:
        copies = [step.rest for step in BY_NAME[target].steps if step.word == "COPY"]
        assert len(copies) == 1 and copies[0].endswith(" /opt/arcface /opt/arcface")
        assert BY_NAME[target].begins_with == "base"
    (user,) = [step.rest for step in BY_NAME["base"].steps if step.word == "USER"]
    assert user.isdecimal() and user != "0"


def test_steps_of_another_kind_are_refused():
    with pytest.raises(image.DockerfileError, match="expected a target of tools, .* Received: 'trainer'"):
        image.needed(STAGES, ["trainer"])
    with pytest.raises(image.DockerfileError, match="expected ARG or FROM first. Received: 'RUN true'"):
        image.read("RUN true\n")


def test_compiled_files_come_from_a_stage_and_not_from_the_working_tree(tmp_path, monkeypatch):
    monkeypatch.setattr(image, "ROOT", tmp_path)
    stages = tmp_path / "build" / "image"  # as `make image-test` has it
    for folder in (tmp_path / "serving", stages / "packages" / "opt"):
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "__pycache__" / "x.pyc").touch()
    builder = image.Builder(stages)
    builder._copy("serving /src/serving", stages / "wheel")
    builder._copy("--from=packages /opt /opt", stages / "pipeline")
    assert [str(path.relative_to(stages)) for path in sorted(stages.rglob("*.pyc"))] == [
        "packages/opt/__pycache__/x.pyc",
        "pipeline/opt/__pycache__/x.pyc",
    ]
