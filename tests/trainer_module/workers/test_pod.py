"""A pod whose job can't be read says so by its name, with the code of bad input: another try would not mend it."""

import json

import pytest

from trainer_module.workers import pod
from trainer_module.workers.cluster import BAD_INPUT


def _ends(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["pod", *arguments])
    monkeypatch.setenv(pod.CONSOLE_FD, "")  # which `main` sets
    with pytest.raises(SystemExit) as ended:
        pod.main()
    assert ended.value.code == BAD_INPUT
    return capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_a_pod_without_a_job_says_so(monkeypatch, capsys, arguments):
    said = _ends(monkeypatch, capsys, *arguments)
    assert said == f"JOB.json: expected the path of one training job. Received: {arguments}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected a training job's file. Received: No such file or directory"),
        (b"\xff", "expected a training job's file. Received: 'utf-8' codec"),
        (b"", "expected JSON. Received: "),
        (b"[]", "expected a JSON object. Received: list"),
        (b"{}", "expected a training job. Received: KeyError: 'settings'"),
        (b'{"settings": 3}', "job.json: "),
        (b'{"settings": {"no_such": 3}}', "job.json: "),
        (json.dumps({"settings": {}, "train": 3}).encode(), "job.json: "),
        (json.dumps({"settings": {}, "train": None, "pairs": None, "more": 1}).encode(), "job.json: "),
    ],
)
def test_a_file_that_holds_no_job_is_named(monkeypatch, capsys, tmp_path, content, message):
    path = tmp_path / "job.json"
    if content is not None:
        path.write_bytes(content)
    said = _ends(monkeypatch, capsys, str(path))
    assert said.startswith(f"{path}: ")
    assert message in said
    assert said.count("\n") == 1
