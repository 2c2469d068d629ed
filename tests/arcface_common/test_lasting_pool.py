"""Processes of a pool work in order, take no more than they need, and leave signals to their parent."""

import multiprocessing
import os
import signal
import time

import pytest

from arcface_common.lasting_pool import ProcessLostError, lasting_pool


class _Picky(Exception):
    """Can't be made again from what it shows."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def _slow_at_first(number: int) -> int:
    time.sleep(0.2 if number == 0 else 0)
    return number * number


def _fails(kind: str) -> None:
    raise ValueError("bad") if kind == "plain" else _Picky(1, 2)


def _signals_itself(number: int) -> int:
    os.kill(os.getpid(), number)
    return number


@pytest.fixture
def pool():
    with lasting_pool(2, multiprocessing.get_context("fork"), "Nothing is left") as pool:
        yield pool


def test_results_come_in_order_and_tasks_are_taken_as_needed(pool):
    taken = []
    tasks = (taken.append(number) or number for number in range(1000))
    results = pool.map(_slow_at_first, tasks)
    assert next(results) == 0
    assert len(taken) <= 1 + 2 * 8  # those ahead of the first, and the next one
    assert list(results) == [number * number for number in range(1, 1000)]
    assert list(pool.map(_slow_at_first, [])) == []
    assert list(pool.map(_slow_at_first, [3])) == [9]


def test_an_error_comes_back_with_where_it_was_raised(pool):
    with pytest.raises(ValueError, match="bad") as raised:
        list(pool.map(_fails, ["plain"]))
    assert "in _fails" in raised.value.__notes__[0]


def test_an_error_that_cannot_be_sent_comes_in_words(pool):
    with pytest.raises(RuntimeError, match="_Picky: 1 and 2"):
        list(pool.map(_fails, ["picky"]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_of_a_group_is_the_parents(pool, number):
    assert list(pool.map(_signals_itself, [number] * 4)) == [number] * 4


def test_one_that_is_killed_is_missed(pool):
    with pytest.raises(ProcessLostError, match="one of 2 processes could not begin or was killed.* Nothing is left"):
        list(pool.map(_signals_itself, [signal.SIGKILL]))


def test_its_processes_end_with_it():
    with lasting_pool(3, multiprocessing.get_context("spawn"), "") as pool:
        assert list(pool.map(_slow_at_first, range(3))) == [0, 1, 4]
        assert len(multiprocessing.active_children()) == 3
    assert not multiprocessing.active_children()
