"""The step that posts how a run ended: its task, as KFP's SDK compiles an exit handler, and what it posts."""

import http.server
import json
import socket
import threading

import pytest

from pipeline.runners.notice import add_notice, main, payload
from tests.kubeflow import accept

STATUS = {
    "state": "FAILED",
    "pipelineJobResourceName": "arcface-x7",
    "pipelineTaskName": "Pipeline",
    "error": {"code": 9, "message": "The DAG failed because some tasks failed. The failed tasks are: [Trainer]."},
}


def _input(status):
    return {"inputs": {"parameterValues": {"status": status}}}


@pytest.fixture
def compiled(tmp_path):
    """A pipeline with an exit handler, as KFP's SDK compiles it, and the same without, with ours added."""
    import yaml
    from kfp import compiler, dsl

    @dsl.container_component
    def step(data: str):
        return dsl.ContainerSpec(image="i", command=["c"], args=[data])

    @dsl.component(base_image="i")
    def last(status: dsl.PipelineTaskFinalStatus):
        pass

    @dsl.pipeline(name="small")
    def with_handler(data: str = "x"):
        with dsl.ExitHandler(last()):
            step(data=data)

    @dsl.pipeline(name="small")
    def without(data: str = "x"):
        step(data=data)

    found = []
    for number, pipeline in enumerate((with_handler, without)):
        path = tmp_path / f"{number}.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        found.append(yaml.safe_load(path.read_text()))
    add_notice(found[1], "i", "CHAT")
    return found


@pytest.mark.slow
def test_the_task_is_as_kfp_compiles_an_exit_handler(compiled):
    theirs, ours = compiled
    accept(ours)
    names = {"exit-handler-1": "Pipeline", "last": "Notice"}
    for name, task in theirs["root"]["dag"]["tasks"].items():
        mine = ours["root"]["dag"]["tasks"][names[name]]
        assert mine.get("triggerPolicy") == task.get("triggerPolicy")
        assert mine.get("dependentTasks", []) == [names[one] for one in task.get("dependentTasks", [])]
    their_status = theirs["components"]["comp-last"]["inputDefinitions"]
    assert ours["components"]["Notice"]["inputDefinitions"] == their_status
    assert ours["root"]["dag"]["tasks"]["Notice"]["inputs"]["parameters"] == {
        "status": {"taskFinalStatus": {"producerTask": "Pipeline"}}
    }
    assert list(ours["components"]["Pipeline"]["dag"]["tasks"]) == ["step"]
    assert ours["root"]["inputDefinitions"] == theirs["root"]["inputDefinitions"]


@pytest.mark.parametrize("as_text", [False, True])
def test_what_is_said(as_text):
    said = payload("arcface", _input(json.dumps(STATUS) if as_text else STATUS))
    assert said["text"] == f"arcface: failed: {STATUS['error']['message']}"
    assert (said["state"], said["run"]) == ("FAILED", "arcface-x7")
    assert payload("arcface", _input({"state": "SUCCEEDED"}))["text"] == "arcface: succeeded"


def test_it_is_posted_and_trouble_there_is_no_failure(monkeypatch, capsys):
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802 - http.server's name
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        monkeypatch.setenv("CHAT", f"http://127.0.0.1:{server.server_address[1]}/secret-part")
        main(["CHAT", "arcface", json.dumps(_input(STATUS))])
        thread.join()
    assert received == [payload("arcface", _input(STATUS))]
    main(["CHAT", "arcface", json.dumps(_input(STATUS))])  # nobody is there any more
    main(["NO_SUCH", "arcface", json.dumps(_input(STATUS))])
    said = capsys.readouterr().out
    assert said.count("WARNING expected an address that takes JSON") == 2
    assert "secret-part" not in said


@pytest.mark.parametrize(
    "given",
    [
        _input(None),
        _input("null"),
        _input("no JSON"),
        _input([]),
        _input({}),
        _input({"state": None, "error": "words"}),
        {"inputs": {"parameterValues": {}}},
        {"inputs": None},
        [],
        None,
    ],
)
def test_a_status_that_is_missing_is_said_to_be(given):
    said = payload("arcface", given)
    assert said == {
        "text": "arcface: ended, and the platform does not say how",
        "state": "",
        "error": {},
        "run": "",
    }


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("http://127.0.0.1:9/hooks/SEC RET", "InvalidURL"),
        ("http://127.0.0.1:1:SECRET/x", "InvalidURL"),
        ("http://127.0.0.1:9/SEC\nRET", "InvalidURL"),
        ("http://127.0.0.1:99999/SECRET", "URLError"),
        ("http://[SECRET", "ValueError"),
        ("file:///etc/passwd?SECRET", "none with http:// or https://"),
        ("SECRET", "none with http:// or https://"),
        ("", "none with http:// or https://"),
    ],
)
def test_an_address_that_is_none_is_not_shown_and_is_no_failure(monkeypatch, capsys, address, kind):
    monkeypatch.setenv("CHAT", address)
    main(["CHAT", "arcface", json.dumps(_input(STATUS))])
    said = capsys.readouterr()
    assert said.out == f"WARNING expected an address that takes JSON in CHAT. Received: {kind}\n"
    assert not said.err


def test_a_server_that_speaks_no_http_is_no_failure(monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def garbage():
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"garbage\r\n\r\n")

        thread = threading.Thread(target=garbage)
        thread.start()
        monkeypatch.setenv("CHAT", f"http://127.0.0.1:{server.getsockname()[1]}/SECRET")
        main(["CHAT", "arcface", json.dumps(_input(STATUS))])
        thread.join()
    assert "Received: BadStatusLine" in capsys.readouterr().out
