"""Batches of many requests, without a model: what a thread is given is seen by the function that computes."""

import asyncio
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.server.batching import Batcher, BatchingParameters
from serving.server.errors import Code, ServingError, invalid


class Computer:
    """Doubles `x`; a negative one is an error. Keeps the sizes that it was given, and waits where it is told to."""

    def __init__(self):
        self.sizes = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, inputs):
        self.sizes.append(len(inputs["x"]))
        self.go.wait(10)
        if (inputs["x"] < 0).any():
            raise invalid("negative")
        return {"y": inputs["x"] * 2}


def _run(test, **parameters):
    async def within():
        batcher = Batcher(BatchingParameters(**parameters))
        try:
            return await test(batcher)
        finally:
            batcher.close()

    return asyncio.run(within())


def _rows(*numbers):
    return {"x": np.array(numbers, np.float32)}


def test_requests_that_come_together_are_computed_together_and_padded():
    computer, seen = Computer(), []  # of 7 rows, 8 cost less than 4 and then 2 and 1

    async def test(batcher):
        batcher._on_batch = lambda *seen_now: seen.append(seen_now[:2])
        return await asyncio.gather(*(batcher.run("k", computer, _rows(i), 1) for i in range(5)))

    answers = _run(test, batch_timeout_micros=50_000, allowed_batch_sizes=(1, 8, 32))
    assert [answer["y"].tolist() for answer in answers] == [[0], [2], [4], [6], [8]]
    assert computer.sizes == [8]
    assert seen == [(5, 8)]


@pytest.mark.parametrize(
    ("waiting", "sizes", "expected"),
    [
        (1, (1, 2, 4, 8, 16, 32), (1, 1)),
        (17, (1, 2, 4, 8, 16, 32), (16, 16)),
        (31, (1, 2, 4, 8, 16, 32), (16, 16)),
        (40, (1, 2, 4, 8, 16, 32), (32, 32)),
        (3, (4, 32), (3, 4)),
        (7, (1, 8, 32), (7, 8)),
        (17, (1, 8, 32), (8, 8)),
        (31, (1, 8, 32), (31, 32)),
        (3, (1, 8, 32), (1, 1)),
        (7, (), (7, 7)),
        (40, (), (32, 32)),
    ],
)
def test_the_size_is_taken_at_which_a_row_costs_least(waiting, sizes, expected):
    assert BatchingParameters(allowed_batch_sizes=sizes).next_batch(waiting) == expected


def test_the_rows_that_are_left_come_next_with_those_that_came_meanwhile():
    computer = Computer()
    computer.go.clear()

    async def test(batcher):
        first = [asyncio.create_task(batcher.run("k", computer, _rows(i), 1)) for i in range(17)]
        await asyncio.sleep(0.1)
        then = [asyncio.create_task(batcher.run("k", computer, _rows(i), 1)) for i in range(15)]
        await asyncio.sleep(0.1)
        computer.go.set()
        return [float(answer["y"][0]) for answer in await asyncio.gather(*first, *then)]

    answers = _run(test, batch_timeout_micros=10_000)
    assert answers == [2.0 * i for i in (*range(17), *range(15))]
    assert computer.sizes == [16, 16]


def test_a_thread_begins_the_next_batch_while_the_event_loop_is_busy():
    computer = Computer()

    async def test(batcher):
        tasks = [asyncio.create_task(batcher.run("k", computer, _rows(i), 1)) for i in range(8)]
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 - as long as it parses requests
        done = len(computer.sizes)
        await asyncio.gather(*tasks)
        return done

    assert _run(test, max_batch_size=2, allowed_batch_sizes=()) == 4


def test_a_full_batch_does_not_wait_for_the_timeout():
    async def test(batcher):
        begun = time.monotonic()
        await asyncio.gather(*(batcher.run("k", Computer(), _rows(i), 1) for i in range(4)))
        return time.monotonic() - begun

    assert _run(test, max_batch_size=4, allowed_batch_sizes=(4,), batch_timeout_micros=10_000_000) < 5


def test_a_lone_request_waits_for_the_timeout_and_no_longer():
    async def test(batcher):
        begun = time.monotonic()
        await batcher.run("k", Computer(), _rows(1), 1)
        return time.monotonic() - begun

    assert 0.2 <= _run(test, batch_timeout_micros=200_000) < 5


def test_keys_are_not_mixed():
    computers = Computer(), Computer()

    async def test(batcher):
        await asyncio.gather(*(batcher.run(i % 2, computers[i % 2], _rows(i), 1) for i in range(6)))

    _run(test, allowed_batch_sizes=(), batch_timeout_micros=50_000)
    assert [computer.sizes for computer in computers] == [[3], [3]]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=8), st.integers(1, 40), st.integers(1, 3))
def test_any_requests_get_their_own_rows_and_no_batch_is_too_large(sizes, largest, threads):
    computer = Computer()

    async def test(batcher):
        inputs = [np.arange(size, dtype=np.float32) + 1000 * i for i, size in enumerate(sizes)]
        answers = await asyncio.gather(*(batcher.run("k", computer, {"x": x}, len(x)) for x in inputs))
        return all(np.array_equal(answer["y"], 2 * x) for answer, x in zip(answers, inputs, strict=True))

    parameters = {"max_batch_size": largest, "allowed_batch_sizes": (), "num_batch_threads": threads}
    assert _run(test, max_enqueued_batches=1000, batch_timeout_micros=0, **parameters)
    assert max(computer.sizes) <= largest
    assert sum(computer.sizes) == sum(sizes)


def test_who_is_at_fault_fails_alone():
    computer = Computer()

    async def test(batcher):
        numbers = [*range(31), -1]
        runs = (batcher.run("k", computer, _rows(i), 1) for i in numbers)
        return await asyncio.gather(*runs, return_exceptions=True)

    *good, bad = _run(test, batch_timeout_micros=100_000)
    assert [answer["y"].tolist() for answer in good] == [[2 * i] for i in range(31)]
    assert isinstance(bad, ServingError)
    assert computer.sizes[0] == 32


def test_a_fault_of_the_machine_is_everybodys():
    def broken(inputs):
        broken.calls += 1
        raise ServingError(Code.INTERNAL, "no memory")

    broken.calls = 0

    async def test(batcher):
        return await asyncio.gather(*(batcher.run("k", broken, _rows(i), 1) for i in range(3)), return_exceptions=True)

    answers = _run(test, batch_timeout_micros=50_000, allowed_batch_sizes=())
    assert {error.code for error in answers} == {Code.INTERNAL}
    assert broken.calls == 1


def test_a_full_queue_refuses_and_says_so_and_an_oversized_request_is_split():
    computer = Computer()
    computer.go.clear()

    async def test(batcher):
        large = asyncio.create_task(batcher.run("k", computer, _rows(*range(10)), 10))
        await asyncio.sleep(0.05)  # 4 rows are with the thread, 4 and 2 wait, and count as a batch
        fits = asyncio.create_task(batcher.run("k", computer, _rows(5, 6, 7, 8), 4))
        await asyncio.sleep(0)
        with pytest.raises(ServingError, match="queue .* is full") as refused:
            await batcher.run("k", computer, _rows(1), 1)
        computer.go.set()
        return refused.value.code, (await large)["y"].tolist(), (await fits)["y"].tolist()

    code, large, fits = _run(test, max_batch_size=4, allowed_batch_sizes=(), max_enqueued_batches=2)
    assert code == Code.UNAVAILABLE
    assert large == [2 * i for i in range(10)]
    assert fits == [10, 12, 14, 16]


async def _ended(batcher, *requests):
    """The requests' names in the order of their answers; each is a name, a computer, rows and a key."""
    order = []

    async def asked(name, computer, rows, key):
        await batcher.run(key, computer, _rows(*range(rows)), rows)
        order.append(name)

    tasks = [asyncio.create_task(asked(*request)) for request in requests[:1]]
    await asyncio.sleep(0.05)  # the first piece is with the thread
    tasks += [asyncio.create_task(asked(*request)) for request in requests[1:]]
    await asyncio.sleep(0.05)
    requests[0][1].go.set()
    await asyncio.gather(*tasks)
    return order


@pytest.mark.parametrize("key", ["k", "another"])
def test_a_small_request_does_not_wait_for_all_pieces_of_a_large_one(key):
    computer = Computer()
    computer.go.clear()
    large, small = ("large", computer, 100, "k"), ("small", computer, 1, key)
    order = _run(lambda batcher: _ended(batcher, large, small), max_batch_size=4, allowed_batch_sizes=())
    assert order == ["small", "large"]
    assert len(computer.sizes) == 26


def test_a_large_request_is_not_kept_waiting_by_small_ones():
    computer = Computer()
    computer.go.clear()
    small = [(f"small {i}", computer, 4, "k") for i in range(20)]
    requests = ("large", computer, 12, "k"), *small
    parameters = {"max_batch_size": 4, "allowed_batch_sizes": (), "max_enqueued_batches": 30}
    order = _run(lambda batcher: _ended(batcher, *requests), **parameters)
    assert order.index("large") == 2  # 4 rows, and half of 4 batches, which hold two small ones
    assert set(computer.sizes) == {4}


def test_large_requests_leave_room_in_the_queue():
    computer = Computer()
    computer.go.clear()

    async def test(batcher):
        large = [asyncio.create_task(batcher.run("k", computer, _rows(*range(100)), 100)) for _ in range(6)]
        await asyncio.sleep(0.05)
        small = asyncio.create_task(batcher.run("k", computer, _rows(7), 1))
        await asyncio.sleep(0.05)
        computer.go.set()
        answers = await asyncio.gather(*large, return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, ServingError)], (await small)["y"].tolist()

    refused, small = _run(test, max_batch_size=4, allowed_batch_sizes=(), max_enqueued_batches=4)
    assert small == [14]
    assert {error.code for error in refused} == {Code.UNAVAILABLE}
    assert len(refused) == 3


def test_a_cancelled_request_is_not_computed():
    computer = Computer()
    computer.go.clear()

    async def test(batcher):
        first = asyncio.create_task(batcher.run("k", computer, _rows(1), 1))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(batcher.run("k", computer, _rows(2), 1))
        third = asyncio.create_task(batcher.run("k", computer, _rows(3), 1))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.sleep(0)
        computer.go.set()
        return (await first)["y"].tolist(), (await third)["y"].tolist()

    assert _run(test, allowed_batch_sizes=()) == ([2], [6])
    assert computer.sizes == [1, 1]


def test_while_no_thread_is_free_a_batch_goes_on_filling():
    computer = Computer()
    computer.go.clear()

    async def test(batcher):
        tasks = []
        for i in range(9):
            tasks.append(asyncio.create_task(batcher.run("k", computer, _rows(i), 1)))
            await asyncio.sleep(0.01)
        computer.go.set()
        await asyncio.gather(*tasks)

    _run(test, allowed_batch_sizes=(), batch_timeout_micros=0)
    assert computer.sizes == [1, 8]


def test_what_has_no_rows_is_computed_as_it_is():
    async def test(batcher):
        answers = await asyncio.gather(*(batcher.run("k", scalar, {"x": np.float32(i)}, None) for i in range(2)))
        return [float(answer["y"]) for answer in answers]

    def scalar(inputs):
        return {"y": inputs["x"] * 2}

    assert _run(test) == [0, 2]


def test_outputs_without_the_rows_are_the_models_fault():
    async def test(batcher):
        await batcher.run("k", lambda inputs: {"y": np.zeros(3)}, _rows(1, 2), 2)

    with pytest.raises(ServingError, match="0th dimension") as error:
        _run(test, allowed_batch_sizes=())
    assert error.value.code == Code.FAILED_PRECONDITION
