"""What a command says when it ends otherwise than well, in a process of its own: that changes where output goes."""

import textwrap

import pytest

from arcface_common.errors import DataError
from tests.processes import python

BEAM = """
import apache_beam as beam
from pipeline.beam import beam_args
def fail(_):
    raise error
with beam.Pipeline(argv=list(beam_args())) as pipeline:
    pipeline | beam.Create([0]) | beam.Map(fail)
"""
PLAIN = "raise error"


def _ended(error, how, log):
    code = f"""
from pipeline.cli.endings import ends_in_words
from arcface_common.console import noise_to
from arcface_common.errors import DataError
error = {error!r}
with noise_to({str(log)!r}), ends_in_words({str(log)!r}):
{textwrap.indent(how, "    ")}
"""
    return python(["-c", code])


@pytest.mark.parametrize("how", [PLAIN, BEAM], ids=["plain", "in-beam"])
def test_an_interrupt_is_told_from_a_failure(how, tmp_path):
    log = tmp_path / "log"
    ended = _ended(KeyboardInterrupt(), how, log)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")
    ended = _ended(ZeroDivisionError("x"), how, log)
    first, second = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert first.startswith("failed: ") and "x" in first
    assert second == f"log: {log}"
    assert "ZeroDivisionError: x" in log.read_text()


def test_an_error_that_is_its_own_cause_ends_too(tmp_path):
    ended = _ended(ZeroDivisionError("x"), "raise error from error", tmp_path / "log")
    assert (ended.returncode, ended.stderr) == (1, f"failed: ZeroDivisionError: x\nlog: {tmp_path / 'log'}\n")


def test_bad_input_is_one_line_and_code_2(tmp_path):
    ended = _ended(DataError("a.rec: expected a record. Received: nothing"), PLAIN, tmp_path / "log")
    assert (ended.returncode, ended.stderr) == (2, "error: a.rec: expected a record. Received: nothing\n")


def test_an_interrupt_while_the_command_line_is_imported_is_a_word():
    code = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
class Interrupts:
    def find_spec(self, name, *where):
        if name == "pipeline.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
sys.modules.pop("pipeline.cli", None)
runpy.run_module("pipeline", run_name="__main__")
"""
    ended = python(["-c", code])
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")
