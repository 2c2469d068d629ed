"""`tests.processes` behaves as a process that Python starts, and saves the imports."""

import ast
import os
import subprocess
import sys

import pytest

from tests.processes import ROOT, python

pytestmark = pytest.mark.slow

CODE = """
import os, sys
print(sys.argv, os.getcwd(), os.environ.get("GIVEN"), os.environ.get("HOME"), __name__)
print("aside", file=sys.stderr)
os.write(2, b"below" + bytes([10]))
sys.stdout.flush()
os.system("echo from a child")
"""


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "sys.exit('why')", "os.kill(os.getpid(), 9)"])
def test_it_is_what_python_would_do(end, tmp_path):
    words = ["-c", CODE + end, "one", "--two"]
    forked = python(words, cwd=tmp_path, env={"GIVEN": "yes", "PATH": os.environ["PATH"]})
    started = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={"GIVEN": "yes", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)


def _preloaded():
    """The modules' names, read without importing them all here."""
    tree = ast.parse((ROOT / "tests" / "preloaded.py").read_text())
    (names,) = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    return names


def test_a_module_is_run_as_main_with_its_imports_made():
    forked = python(["-m", "pipeline", "nothing"])
    assert forked.returncode == 2
    assert forked.stderr.startswith("Usage: python -m pipeline ")
    assert python(["-c", f"import sys; print(set({_preloaded()!r}) - set(sys.modules))"]).stdout == "set()\n"


def test_tensorflow_computes_in_it():
    assert python(["-c", "import tensorflow as tf; print(int(tf.reduce_sum(tf.ones([9, 9]))))"]).stdout == "81\n"
