"""A process of its own that takes training steps when it is told to, and says what they cost. Standard library only.

So two frameworks take turns in one run, and neither's memory is the other's.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from benchmarks import memory

ROOT = Path(__file__).resolve().parent.parent


def serve(step: Callable[[], object]) -> None:
    """In the process: warms up, then takes a step for each line that comes."""
    step()
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, memory.peak()]), flush=True)


class StepProcess:
    """The process as seen from outside.

    Attributes:
      wall: seconds of each step.
      cpu: seconds of all threads in each step.
      peak: bytes of resident memory at most until now, of imports and warming up, too.
    """

    def __init__(self, python: str, *arguments: str) -> None:
        """Starts `python -m ARGUMENTS`, which calls `serve`."""
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.peak = 0
        self._process = subprocess.Popen(
            [python, "-m", *arguments], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def step(self) -> None:
        """Takes one step, and waits for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args}: expected a step's costs. Received: it ended")
        wall, cpu, self.peak = json.loads(answer)
        self.wall.append(wall)
        self.cpu.append(cpu)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def take_turns(sides: Sequence[StepProcess], turns: int) -> None:
    """One step of each, again and again."""
    for _ in range(turns):
        for side in sides:
            side.step()


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times faster we are: the median over turns, since the machine's speed varies from turn to turn."""
    return statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
