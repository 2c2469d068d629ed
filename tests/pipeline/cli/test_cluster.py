"""What ends the following of a run leaves the words that begin it again; an address with a secret in it isn't shown."""

import os
import re
import signal
import time

import click
import pytest

from arcface_common.errors import DataError
from pipeline.cli.cluster import _follow, _server
from pipeline.runners.kubeflow_api import Kubeflow
from pipeline.runners.kubeflow_client import Server
from tests.kubeflow_server import serving


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # where the client keeps what it knows of clusters
    with serving() as running:
        running.runs["mine"] = {"pipeline_spec": {"root": {"dag": {"tasks": {"A": {"componentRef": {"name": "A"}}}}}}}
        running.looks["mine"] = 0
        running.runs["mine"]["pipeline_spec"]["components"] = {"A": {"executorLabel": "a"}}
        running.waits = "A"
        yield running


def _after_a_look(server, then):
    """Has the server do something at the second look at the run."""
    usual, looks = server.answer, []

    def answer(method, path, query, body):
        if path.endswith("/runs/mine"):
            looks.append(path)
            if len(looks) > 1:
                return then()
        return usual(method, path, query, body)

    server.answer = answer


def _signal(number):
    os.kill(os.getpid(), number)
    time.sleep(0.1)
    return 503, {}


@pytest.mark.parametrize(
    ("then", "ends"),
    [
        (lambda: (401, {"message": "expired"}), DataError),
        (lambda: (200, "<html>Log in</html>"), DataError),
        (lambda: _signal(signal.SIGTERM), SystemExit),
        (lambda: _signal(signal.SIGHUP), SystemExit),
    ],
)
def test_what_ends_the_following_leaves_the_words_that_begin_it_again(server, capfd, then, ends):
    address = Server(server.host, namespace="team")
    _after_a_look(server, then)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(ends) as raised:
        _follow(Kubeflow(address), "mine", address, as_json=False)
    if ends is SystemExit:
        assert raised.value.code in (128 + signal.SIGTERM, 128 + signal.SIGHUP)
    assert re.search(rf"follow it: .*runs follow mine --host {server.host} --namespace team", capfd.readouterr().err)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_a_run_that_never_was_there_is_not_to_be_followed(server, capfd):
    address = Server(server.host)
    with pytest.raises(DataError, match="run other not found"):
        _follow(Kubeflow(address), "other", address, as_json=False)
    assert "follow it" not in capfd.readouterr().err


def test_a_run_that_ended_needs_no_such_words(server, capfd):
    address = Server(server.host)
    server.waits, server.fails = None, {"A": "ValueError: x"}
    with pytest.raises(click.exceptions.Exit):
        _follow(Kubeflow(address), "mine", address, as_json=False)
    assert "follow it" not in capfd.readouterr().err


@pytest.mark.parametrize("host", ["http://h/?t=SECRET", "http://h/#SECRET", "http://h?SECRET", "https://h/kfp#/SECRET"])
def test_a_query_or_fragment_in_the_address_is_refused_and_not_shown(host):
    with pytest.raises(DataError, match="--host: expected a URL without [?] and #. Received: 'https?://h") as raised:
        _server(host, {})
    assert "SECRET" not in str(raised.value)


def test_a_path_in_the_address_is_kept():
    assert _server("https://h/pipeline", {}).host == "https://h/pipeline"
