"""The life of versions: loading aside, taking over, going; and folders that are half copied, corrupt or deleted."""

import asyncio
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.server import manager
from serving.server.batching import BatchingParameters
from serving.server.core import Core, Target
from serving.server.errors import Code, ServingError
from serving.server.manager import Policy, State
from tests.serving.server.models import Times, copy, write_times

pytestmark = pytest.mark.slow
TARGET = Target("m")


def _within(folder, test, policy=None):
    async def run():
        core = Core("m", str(folder), BatchingParameters(4, 0, allowed_batch_sizes=(1, 4)), policy)
        try:
            await core.manager.look()
            return await test(core)
        finally:
            await core.close()

    return asyncio.run(run())


async def _ask(core, *numbers, target=TARGET):
    with core.use(target) as version:
        return await core.predict(target, version, {"x": np.array([numbers], np.float32)})


def _states(core):
    return {version.number: version.state for version in core.manager.versions.values()}


def test_the_latest_version_answers_and_a_newer_one_takes_over(folder):
    async def test(core):
        before = await _ask(core, 1, 2)
        write_times(folder, 5.0, 2)
        await core.manager.look()
        return before, await _ask(core, 1, 2), _states(core)

    before, after, states = _within(folder, test)
    assert (before.version, before.outputs["y"].tolist()) == (1, [[3, 6]])
    assert (after.version, after.outputs["y"].tolist()) == (2, [[5, 10]])
    assert states == {1: State.UNLOADING, 2: State.AVAILABLE} or states == {1: State.END, 2: State.AVAILABLE}


def test_a_version_goes_after_its_last_request(folder):
    async def test(core):
        with core.use(TARGET) as version:
            copy(folder / "1", 2)
            await core.manager.look()
            still = await core.predict(TARGET, version, {"x": np.ones((1, 2), np.float32)})
            during = _states(core)
        await asyncio.gather(*core.manager._closing)
        return still, during, _states(core)

    still, during, after = _within(folder, test)
    assert still.version == 1
    assert during == {1: State.UNLOADING, 2: State.AVAILABLE}
    assert after == {1: State.END, 2: State.AVAILABLE}


@pytest.mark.parametrize("broken", ["empty", "no variables", "half a graph", "half the variables", "warm-up"])
def test_a_broken_version_leaves_the_old_one_and_is_taken_when_it_is_whole(folder, broken):
    async def test(core):
        whole = folder.parent / "whole"
        shutil.copytree(folder / "1", whole)
        _break(whole, folder / "2", broken)
        await core.manager.look()
        during, error = (await _ask(core, 1, 1)).version, core.manager.versions[2].error
        assert core.metrics.loads.values == {("m", "OK"): 1, ("m", "failed"): 1}
        await core.manager.look()  # and it isn't tried again
        again = core.manager.versions[2].error
        shutil.rmtree(folder / "2")
        shutil.copytree(whole, folder / "2")
        await core.manager.look()
        return during, error, again, (await _ask(core, 1, 1)).version

    during, error, again, after = _within(folder, test)
    assert during == 1
    assert isinstance(error, ServingError)
    assert again is error
    assert after == 2


def _break(whole, version, how):
    shutil.copytree(whole, version)
    graph, variables = version / "saved_model.pb", version / "variables" / "variables.data-00000-of-00001"
    if how == "empty":
        shutil.rmtree(version)
        version.mkdir()
    elif how == "no variables":
        shutil.rmtree(version / "variables")
    elif how == "warm-up":
        (version / "assets.extra").mkdir(exist_ok=True)
        (version / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records" * 9)
    else:
        file = graph if how == "half a graph" else variables
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_what_cannot_be_loaded_is_tried_again_after_a_while(folder, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(manager, "monotonic", lambda: now[0])
    tries = []

    async def test(core):
        load = core.manager._load

        def failing(path):
            tries.append(now[0])
            raise OSError("Too many open files")

        core.manager._load = failing
        copy(folder / "1", 2)
        for now[0] in range(1000, 20_000, 10):
            await core.manager.look()
        core.manager._load = load
        now[0] += 3600
        await core.manager.look()
        return _states(core)[2]

    assert _within(folder, test) == State.AVAILABLE
    waits = np.diff(tries).tolist()
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]


def test_a_version_that_takes_less_is_said(folder, capfd):
    async def test(core):
        model = Times(2.0)
        tf.saved_model.save(model, str(folder / ".a"), signatures={"serving_default": model.whole})
        (folder / ".a").rename(folder / "2")
        await core.manager.look()
        copy(folder / "2", 3)
        await core.manager.look()

    _within(folder, test)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert line.partition("warning: ")[2] == (
        "version 2 doesn't take what version 1 took: input x of serving_default is another; output size of "
        "serving_default is another; output y of serving_default is another; signature slow; signature texts; "
        "signature whole"
    )


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1.0])
def test_a_version_whose_own_requests_have_no_finite_answers_is_not_taken(folder, factor):
    async def test(core):
        aside = write_times(folder.parent, factor, 2)
        request = predict_pb2.PredictRequest(inputs={"x": tf.make_tensor_proto(np.ones((1, 2), np.float32))})
        log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
        (aside / "assets.extra").mkdir()
        with tf.io.TFRecordWriter(str(aside / "assets.extra" / "tf_serving_warmup_requests")) as writer:
            writer.write(log.SerializeToString())
        aside.rename(folder / "2")
        await core.manager.look()
        return (await _ask(core, 1, 1)).version, str(core.manager.versions[2].error)

    version, error = _within(folder, test)
    assert version == (2 if factor == 1.0 else 1)
    assert ("expected finite answers to its own requests for warm-up" in error) == (factor != 1.0)


def test_files_that_change_while_they_are_loaded_are_not_trusted(folder):
    async def test(core):
        load = core.manager._load

        def loading(path):
            servable = load(path)
            (folder / "2" / "late").write_bytes(b"")
            return servable

        copy(folder / "1", 2)
        core.manager._load = loading
        await core.manager.look()
        first = core.manager.versions[2].error
        core.manager._load = load
        await core.manager.look()
        return first, _states(core)[2]

    first, state = _within(folder, test)
    assert first.code == Code.UNAVAILABLE
    assert state == State.AVAILABLE


def test_deleted_folders_take_nothing_down(folder):
    async def test(core):
        shutil.rmtree(folder / "1")
        await core.manager.look()
        version = (await _ask(core, 1, 1)).version
        shutil.rmtree(folder)
        await core.manager.look()
        return version, (await _ask(core, 1, 1)).version

    assert _within(folder, test) == (1, 1)


def test_of_a_deleted_newest_version_the_one_before_takes_over(folder):
    copy(folder / "1", 2)

    async def test(core):
        first = (await _ask(core, 1, 1)).version
        shutil.rmtree(folder / "2")
        await core.manager.look()
        return first, (await _ask(core, 1, 1)).version

    assert _within(folder, test) == (2, 1)


def test_policies_and_labels(folder):
    for number in (2, 3):
        copy(folder / "1", number)

    async def available(core):
        return [version.number for version in core.manager.available()]

    async def labelled(core):
        stable = await _ask(core, 1, 1, target=Target("m", label="stable"))
        with pytest.raises(ServingError, match="Unrecognized servable version label: canary") as error:
            await _ask(core, 1, 1, target=Target("m", label="canary"))
        return stable.version, error.value.code

    assert _within(folder, available) == [3]
    assert _within(folder, available, Policy(latest=2)) == [3, 2]
    assert _within(folder, available, Policy(specific=frozenset({1, 3}))) == [3, 1]
    specific = Policy(specific=frozenset({1, 3}), labels={"stable": 1})
    assert _within(folder, labelled, specific) == (1, Code.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target("other"), r"Servable not found for request: Latest\(other\)"),
        (Target("other", 3), r"Servable not found for request: Specific\(other, 3\)"),
        (Target("m", 7), r"Servable not found for request: Specific\(m, 7\)"),
        (Target("m", signature="nope"), 'Serving signature key "nope" not found.'),
    ],
)
def test_who_is_not_there(folder, target, message):
    async def test(core):
        with pytest.raises(ServingError, match=message):
            await _ask(core, 1, 1, target=target)

    _within(folder, test)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "Missing but required: {x}"),
        ({"x": np.zeros((1, 2), np.float32), "z": np.zeros(1)}, "Sent extra: {z}"),
        ({"x": np.zeros((1, 2), np.float64)}, r"expected float32 \[-1, 2\]. Received: float64 \[1, 2\]"),
        ({"x": np.zeros((1, 3), np.float32)}, r"expected float32 \[-1, 2\]. Received: float32 \[1, 3\]"),
        ({"x": np.float32(1)}, r"Received: float32 \[\]"),
        ({"x": -np.ones((1, 2), np.float32)}, "expected no negative number"),
    ],
)
def test_what_the_signature_does_not_take(folder, inputs, message):
    async def test(core):
        with core.use(TARGET) as version, pytest.raises(ServingError, match=message) as error:
            await core.predict(TARGET, version, inputs)
        return error.value.code

    assert _within(folder, test) == Code.INVALID_ARGUMENT


def test_other_signatures_and_chosen_outputs(folder):
    async def test(core):
        with core.use(TARGET) as version:
            target = Target("m", signature="whole")
            whole = await core.predict(target, version, {"x": np.array([2, 3])})
            texts = {"a_bytes": np.array([b"a", b""], object), "b": np.array([b"\xff", b""], object)}
            text = await core.predict(Target("m", signature="texts"), version, texts, ["joined"])
        return whole.outputs, text.outputs

    whole, text = _within(folder, test)
    assert whole == {"sum": 5}
    assert {name: array.tolist() for name, array in text.items()} == {"joined": [b"a\xff", b""]}


def test_a_large_request_is_computed_in_allowed_sizes(folder):
    async def test(core):
        with core.use(TARGET) as version:
            answer = await core.predict(TARGET, version, {"x": np.ones((11, 2), np.float32)})
        return answer.outputs["size"].tolist(), core.metrics.text()

    sizes, text = _within(folder, test)
    assert sizes == [4] * 11  # the last three are padded to 4
    assert ':tensorflow:serving:batching_session:padding_size_sum{model_name="m"} 1\n' in text
    assert ':tensorflow:serving:request_example_count_total{model="m"} 11\n' in text
