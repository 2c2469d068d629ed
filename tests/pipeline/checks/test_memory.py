"""The guard against a training that memory doesn't hold: where it reads limits, what it refuses, how good it is."""

import dataclasses
import re

import pytest

from arcface_common.errors import DataError
from pipeline.checks.memory import Available, available, check_memory, needed_bytes
from trainer_module.settings import TrainSettings

GB = 10**9
R50 = TrainSettings(backbone="iresnet50", batch_size=512)


@pytest.fixture
def machine(tmp_path):
    """A machine with 20 GB left, and folders for control groups."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {20 * GB // 1024} kB\n")
    (tmp_path / "cgroup").mkdir()
    return tmp_path


def _left(machine):
    return available(machine / "proc", machine / "cgroup")


def _group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_without_control_groups_the_machine_is_the_limit(machine):
    assert _left(machine) == Available(20 * GB // 1024 * 1024, "this machine")


def test_the_narrowest_group_above_counts_less_what_it_can_give_back(machine):
    (machine / "proc" / "self" / "cgroup").write_text("0::/a/b\n")
    stat = f"anon 5\ninactive_file {GB // 2}\nactive_file {GB // 2}"
    _group(machine / "cgroup" / "a" / "b", memory__max="max", memory__current=GB, memory__stat=stat)
    _group(machine / "cgroup" / "a", memory__max=6 * GB, memory__current=4 * GB, memory__stat=stat)
    assert _left(machine) == Available(3 * GB, str(machine / "cgroup" / "a" / "memory.max"))


def test_in_a_container_the_mount_is_the_group(machine):
    (machine / "proc" / "self" / "cgroup").write_text("0::/\n")
    _group(machine / "cgroup", memory__max=2 * GB, memory__current=3 * GB, memory__stat="anon 1")
    assert _left(machine).bytes == 0


def test_version_1_groups(machine):
    (machine / "proc" / "self" / "cgroup").write_text("12:cpu,cpuacct:/x\n4:memory:/docker/1\n")
    stat = f"inactive_file 0\ntotal_inactive_file {GB}\ntotal_active_file 0"
    _group(
        machine / "cgroup" / "memory",
        memory__limit_in_bytes=4 * GB,
        memory__usage_in_bytes=2 * GB,
        memory__stat=stat,
    )
    assert _left(machine).bytes == 3 * GB


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_r50_is_refused_on_24_gb_and_what_the_advice_says_fits(no_gpu):
    here = Available(24 * GB, "this machine")
    message = (
        r"train.batch_size: expected about [45]\d\.\d GB for train.batch_size=512 of iresnet50, 85,742 identities and "
        r"1 worker without a GPU; train.batch_size=(\d+) fits, and train.check_memory=false goes on all "
        r"the same. Received: 24\.0 GB left of this machine"
    )
    with pytest.raises(DataError, match=message) as refused:
        check_memory(R50, 85_742, here)
    fits = int(re.search(message, str(refused.value))[1])
    assert 150 < fits < 300
    check_memory(dataclasses.replace(R50, batch_size=fits), 85_742, here)
    assert needed_bytes(dataclasses.replace(R50, batch_size=fits + 1), 85_742) > here.bytes


def test_micro_batches_take_the_memory_of_one(no_gpu):
    here = Available(24 * GB, "this machine")
    check_memory(dataclasses.replace(R50, accumulate=8), 85_742, here)
    with pytest.raises(DataError, match=r"train.batch_size=(\d+) fits") as refused:
        check_memory(dataclasses.replace(R50, batch_size=4096, accumulate=8), 85_742, here)
    fits = int(re.search(r"train.batch_size=(\d+) fits", str(refused.value))[1])
    assert fits % 8 == 0
    check_memory(dataclasses.replace(R50, batch_size=fits, accumulate=8), 85_742, here)


def test_what_may_fit_is_warned_of(no_gpu, capsys):
    needed = needed_bytes(R50, 10_000)
    check_memory(R50, 10_000, Available(int(needed * 0.9), "a file"))
    assert re.search(
        r"WARNING memory: about .* GB are left of a file; train.batch_size=4\d\d fits", capsys.readouterr().err
    )
    check_memory(R50, 10_000, Available(needed, "a file"))
    assert capsys.readouterr().err == ""


def test_more_identities_than_memory(no_gpu):
    with pytest.raises(DataError, match=r"no train.batch_size fits: a smaller train.backbone may"):
        check_memory(R50, 2_000_000, Available(24 * GB, "this machine"))


@pytest.mark.parametrize(
    "changed",
    [{"check_memory": False}, {"steps": 0, "init_from": "x"}, {"backbone": "mine.net:build"}],
    ids=["told-not-to", "nothing-trained", "of-unknown-size"],
)
def test_where_nothing_is_checked(no_gpu, changed):
    check_memory(dataclasses.replace(R50, **changed), 85_742, Available(GB, "this machine"))


def test_every_worker_of_this_host_counts(no_gpu):
    alone = needed_bytes(R50, 85_742)
    two = needed_bytes(dataclasses.replace(R50, workers=2), 85_742)
    joined = needed_bytes(dataclasses.replace(R50, workers=2, join_cluster=True), 85_742)
    assert joined < alone < two < 2 * joined


def test_a_worker_holds_its_share_of_the_centres(no_gpu):
    whole = dataclasses.replace(R50, workers=4)
    saved = needed_bytes(whole, 1_000_000) - needed_bytes(dataclasses.replace(whole, shard_centres=True), 1_000_000)
    # Of 4 workers with 8.4 copies of the centres each, a quarter stays.
    assert saved == pytest.approx(3 * 8.4 * 1_000_000 * 512 * 4, rel=0.01)


@pytest.mark.parametrize(
    ("backbone", "batch", "classes", "peak"),
    [
        # benchmarks/results/training_memory.csv
        ("iresnet_tiny", 64, 500, 0.96),
        ("iresnet_tiny", 512, 500, 1.57),
        ("iresnet_tiny", 64, 85_742, 1.38),
        ("iresnet18", 4, 10_000, 1.93),
        ("iresnet18", 64, 10_000, 5.66),
        ("iresnet34", 16, 10_000, 3.35),
        ("iresnet50", 4, 10_000, 2.53),
        ("iresnet50", 16, 10_000, 3.63),
        ("iresnet50", 32, 10_000, 5.07),
        ("iresnet50", 16, 85_742, 4.93),
        ("iresnet100", 4, 10_000, 3.16),
        ("iresnet100", 12, 10_000, 4.29),
        ("mobilefacenet", 32, 10_000, 3.27),
        ("mobilefacenet", 128, 10_000, 7.69),
    ],
)
def test_the_estimate_meets_measured_peaks(backbone, batch, classes, peak):
    from trainer_module.backbone_facts import step_bytes

    step = step_bytes(TrainSettings(backbone=backbone, batch_size=batch), classes, batch)
    assert step / GB + 0.89 == pytest.approx(peak, rel=0.2)
