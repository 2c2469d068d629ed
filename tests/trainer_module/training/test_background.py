"""Checkpoints that a thread writes: what they hold, and what becomes of errors; the best of them by verification."""

import dataclasses
import threading

import numpy as np
import pytest

from arcface_common.errors import DataError
from arcface_common.protocol import insightface
from trainer_module.settings import TrainSettings

CLASSES = 4
SETTINGS = TrainSettings(
    backbone="tests.trainer_module.tiny_network:tiny_network", embedding_dim=6, batch_size=8, steps=4, warmup_steps=1
)
KINDS = {
    "sgd": SETTINGS,
    "adamw": dataclasses.replace(SETTINGS, optimizer="adamw"),
    "mixed_float16": dataclasses.replace(SETTINGS, precision="mixed_float16"),
    "remembers": dataclasses.replace(SETTINGS, loss="curricularface", sub_centres=2, sample_rate=0.5),
    "batch_renorm": dataclasses.replace(SETTINGS, norm="batch_renorm"),
}


def _state(settings=SETTINGS, classes=CLASSES):
    from trainer_module.training.state import create_state

    return create_state(settings, classes)


def _fill(state, value):
    for variable in state.variables():
        variable.assign(np.full(variable.shape, value).astype(variable.dtype.as_numpy_dtype))


def _written(folder):
    import tensorflow as tf

    from trainer_module.training import checkpoints

    prefix = checkpoints.path_in(str(folder))
    names = [name for name, _ in tf.train.list_variables(prefix) if "ATTRIBUTES" in name]
    return {name: tf.train.load_variable(prefix, name) for name in names}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_the_whole_state_of_the_pause(tmp_path, kind):
    import tensorflow as tf

    from trainer_module.training import checkpoints
    from trainer_module.training.background import BackgroundWriter

    settings, (asked, may_write) = KINDS[kind], (threading.Event(), threading.Event())
    state = _state(settings)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        mirrored = _state(settings)

    def save(copy, folder):
        asked.set()
        assert may_write.wait(60)
        checkpoints.write(copy.checkpoint(), str(folder), is_chief=True)

    (tmp_path / "direct").mkdir()
    with BackgroundWriter(lambda: _state(settings)) as writer:
        for number, of in enumerate((state, mirrored)):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            _fill(of, 1 + number)
            checkpoints.write(of.checkpoint(), str(tmp_path / "direct"), is_chief=True)
            asked.clear()
            may_write.clear()
            writer.write(of, lambda copy, folder=folder: save(copy, folder))
            assert asked.wait(60)
            _fill(of, 7)  # the training goes on before anything is written
            may_write.set()
            writer.wait()
            found, direct = _written(folder), _written(tmp_path / "direct")
            assert found.keys() == direct.keys()
            for name, value in direct.items():
                np.testing.assert_array_equal(found[name], value, err_msg=name)
                assert (value == 1 + number).all(), name


def test_what_a_write_ends_with_is_raised_once_by_who_looks_next(capsys):
    from trainer_module.training.background import BackgroundWriter

    def fail(copy):
        raise DataError("the disk is full")

    state = _state()
    with BackgroundWriter(_state) as writer:
        writer.write(state, fail)
        with pytest.raises(DataError, match="the disk is full"):
            writer.write(state, lambda copy: None)
        writer.write(state, lambda copy: None)
        writer.check()
        writer.wait()
    with pytest.raises(DataError, match="the disk is full"), BackgroundWriter(_state) as writer:
        writer.write(state, fail)
    with pytest.raises(FloatingPointError), BackgroundWriter(_state) as writer:
        writer.write(state, fail)
        raise FloatingPointError
    assert "WARNING the disk is full" in capsys.readouterr().err


def test_a_folder_that_takes_no_checkpoint_is_named(tmp_path):
    from trainer_module.training import resumption

    (tmp_path / "work").touch()
    with pytest.raises(DataError, match=rf"{tmp_path}/work/3: expected to write a checkpoint. Received: "):
        resumption.save(_state(), "", str(tmp_path / "work"), 3)


def _results(accuracy):
    """A set of 20 pairs with that accuracy, a multiple of 0.1."""
    wrong = round(20 * (1 - accuracy)) // 2
    distances = np.array([0.5, 1.5] * 10)
    distances[: 2 * wrong] = 1.0
    found = insightface.evaluate(distances, [True, False] * 10, np.ones(20))
    return {"lfw": dataclasses.replace(found, accuracy=accuracy)}


@pytest.mark.parametrize("own_folder", [True, False])
def test_the_best_is_kept_and_of_equal_ones_the_latest(tmp_path, capsys, own_folder):
    import json

    import tensorflow as tf

    from trainer_module.training.background import BackgroundWriter
    from trainer_module.training.best import BestCheckpoint

    run, strategy, state = tmp_path / "run", tf.distribute.get_strategy(), _state()
    work = tmp_path / "work" if own_folder else run
    for folder in {run, work}:
        folder.mkdir()
    with BackgroundWriter(_state) as writer:
        best = BestCheckpoint(strategy, writer, str(work), is_chief=True)
        assert not best.hand_over(str(run))
        for step, accuracy in ((10, 0.7), (20, 0.9), (30, 0.8)):
            _fill(state, step)
            best.offer(step, state, _results(accuracy))
        writer.wait()
        assert [path.name for path in work.iterdir()] == ["best-20"]
        resumed = BestCheckpoint(strategy, writer, str(work), is_chief=True)
        for step, accuracy in ((40, 0.8), (50, 0.9), (60, 0.8)):
            _fill(state, step)
            resumed.offer(step, state, _results(accuracy))
        assert resumed.hand_over(str(run))
    assert all((value == 50).all() for value in _written(run).values())
    told = json.loads((run / "verified.json").read_text())
    assert (told["step"], told["accuracy"]) == (50, 0.9)
    assert [path.name for path in work.glob("best-*")] == (["best-50"] if own_folder else [])
    assert "kept is best-50, the best of all verified: mean accuracy 0.9000" in capsys.readouterr().err


def test_a_damaged_best_is_said_and_starts_anew(tmp_path, capsys):
    import tensorflow as tf

    from trainer_module.training.background import BackgroundWriter
    from trainer_module.training.best import BestCheckpoint

    with BackgroundWriter(_state) as writer:
        BestCheckpoint(tf.distribute.get_strategy(), writer, str(tmp_path), is_chief=True).offer(
            10, _state(), _results(0.9)
        )
        writer.wait()
        data = tmp_path / "best-10" / "checkpoint" / "model.data-00000-of-00001"
        data.write_bytes(data.read_bytes()[:-9])
        found = BestCheckpoint(tf.distribute.get_strategy(), writer, str(tmp_path), is_chief=True)
        expected = (
            f"WARNING {data}: expected a whole file of a checkpoint. Received: a damaged one; the best starts anew"
        )
        assert expected in capsys.readouterr().err
        found.offer(20, _state(), _results(0.5))
        assert found.hand_over(str(tmp_path / "run"))
