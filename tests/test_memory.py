"""The benchmarks' measure of memory is of the program itself."""

import subprocess
import sys
from pathlib import Path

from benchmarks import memory

ROOT = Path(__file__).resolve().parent.parent


def test_the_peak_is_not_that_of_the_program_which_started_it():
    large = b"x" * 400_000_000
    code = "from benchmarks import memory; before = memory.resident(); b'x' * 50_000_000; print(before, memory.peak())"
    command = [sys.executable, "-c", code]
    resident, peak = map(int, subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout.split())
    assert memory.peak() > len(large)
    assert resident < 40_000_000
    assert 50_000_000 < peak < 100_000_000
