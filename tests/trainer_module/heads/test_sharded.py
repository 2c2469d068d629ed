"""Centres that are split over replicas train as whole ones do, to the rounding of sums."""

import numpy as np
import pytest

from tests.processes import python
from tests.trainer_module.heads.sharded_steps import IN_THREE, SCENARIOS, STEPS, classes_of
from trainer_module.heads.shards import shard_rows

pytestmark = pytest.mark.slow
# Of an array's largest value. In 8 bits a network differs by 2 %, in 11 by 0.03 %, where its batch is cut otherwise.
_RELATIVE = {"float32": 1e-5, "mixed_float16": 0.02, "mixed_bfloat16": 0.08}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Number of replicas -> what its process found."""
    found = {}
    for count in (1, 2, 3):
        path = tmp_path_factory.mktemp("sharded") / f"{count}.npz"
        done = python(["-m", "tests.trainer_module.heads.sharded_steps", str(path), str(count)])
        assert done.returncode == 0, done.stderr
        with np.load(path) as values:
            found[count] = dict(values)
    return found


def _of(trained, count, name):
    begin = f"{name}/"
    return {key.removeprefix(begin): value for key, value in trained[count].items() if key.startswith(begin)}


@pytest.mark.parametrize(("name", "count"), [*((name, 2) for name in SCENARIOS), *((name, 3) for name in IN_THREE)])
def test_shards_equal_the_whole(trained, name, count):
    found, expected = _of(trained, count, name), _of(trained, 1, name)
    assert found.keys() == expected.keys()
    relative = _RELATIVE[SCENARIOS[name].precision]
    for key, value in expected.items():
        if key == "nearest":
            assert (found[key] == value).all()
        elif np.isfinite(value).all():
            assert np.abs(found[key] - value).max() <= relative * max(np.abs(value).max(), 1e-3), key
        else:
            assert not np.isfinite(found[key]).any(), key


def test_the_scenarios_are_what_they_are_said_to_be(trained):
    """The whole ones: else a comparison could pass that shows nothing."""
    metrics = {name: _of(trained, 1, name) for name in SCENARIOS}
    steps = range(STEPS)
    for name, settings in SCENARIOS.items():
        if settings.clip_norm:
            assert any(metrics[name][f"{step}/gradient_norm"] > settings.clip_norm for step in steps), name
    assert metrics["clipped, decaying L2"]["3/l2_factor"] < 1
    scales = [_of(trained, count, "overflow")[f"{step}/loss_scale"] for count in (1, 2, 3) for step in steps]
    assert scales == [2.0 ** (15 - step) for step in steps] * 3
    assert any(0 < metrics[name][f"{step}/accuracy"] < 1 for name in SCENARIOS for step in steps)
    assert len(set(metrics["arcface"]["nearest"])) > 3
    assert [shard_rows(classes_of(name), 3) for name in ("arcface", "two classes")] == [3, 1]
