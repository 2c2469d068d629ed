"""GPUs that are there, and what keeps TensorFlow from them: a machine's `proc`, `dev` and `sys`, laid out as files."""

import pytest

from arcface_common.gpus import CUDA_LIBRARY, DRIVER_LIBRARY, Gpus, find_gpus

NEW = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build  (d@U22)\nGCC version:\n"
OLD = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 14:37:44 UTC 2024\n"
BOTH = {DRIVER_LIBRARY, CUDA_LIBRARY}


def _machine(root, *, bus=(), devices=0, version="", models=()):
    for number, (vendor, kind) in enumerate(bus):
        folder = root / "sys" / "bus" / "pci" / "devices" / f"0000:{number:02x}:00.0"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "class").write_text(f"{kind}\n")
    (root / "dev").mkdir(parents=True)
    for name in ("nvidiactl", "nvidia-uvm", "null", *(f"nvidia{number}" for number in range(devices))):
        (root / "dev" / name).touch()
    driver = root / "proc" / "driver" / "nvidia"
    if version:
        driver.mkdir(parents=True)
        (driver / "version").write_text(version)
    for number, model in enumerate(models):
        (driver / "gpus" / str(number)).mkdir(parents=True)
        (driver / "gpus" / str(number) / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 7\n")
    return root


def _found(root, libraries=frozenset(BOTH), **environment):
    return find_gpus(root, environment, libraries.__contains__)


def test_a_machine_without_any(tmp_path):
    bus = [("0x8086", "0x030000"), ("0x10de", "0x068000"), ("0x10de", "0x040300")]  # NVIDIA's bridge and sound
    assert _found(_machine(tmp_path, bus=bus)) == Gpus()
    assert _found(tmp_path / "nothing") == Gpus()


def test_what_is_whole_is_usable(tmp_path):
    machine = _machine(tmp_path, devices=2, version=NEW, models=["NVIDIA H200", "NVIDIA L4"])
    found = _found(machine)
    assert found == Gpus(("NVIDIA H200", "NVIDIA L4"), visible=2)
    assert found.usable == 2
    assert found.in_words() == "2 GPUs (NVIDIA H200, NVIDIA L4)"


def test_gpus_by_their_device_files_alone(tmp_path):
    assert _found(_machine(tmp_path, devices=1)).in_words() == "1 GPU (NVIDIA GPU)"


@pytest.mark.parametrize(("shown", "count"), [("", 0), ("-1", 0), ("1", 1), ("0,1,2", 2), (" 0 , 1", 2)])
def test_a_person_may_hide_some(tmp_path, shown, count):
    found = _found(_machine(tmp_path, devices=2, version=NEW), frozenset(), CUDA_VISIBLE_DEVICES=shown)
    assert (found.visible, found.hidden, bool(found.obstacle)) == (count, count == 0, count > 0)
    assert _found(tmp_path, CUDA_VISIBLE_DEVICES=shown).usable == count


@pytest.mark.parametrize(
    ("machine", "libraries", "obstacle"),
    [
        ({"bus": [("0x10de", "0x030200")]}, BOTH, "no driver of NVIDIA's is loaded: install it"),
        ({"version": NEW, "models": ["NVIDIA H200"]}, BOTH, "no /dev/nvidia*: start the container with --gpus all"),
        ({"devices": 1, "version": OLD}, BOTH, "the driver is 470.256, and CUDA 12 needs 525.60 or newer"),
        ({"devices": 1, "version": NEW}, {CUDA_LIBRARY}, "libcuda.so.1 can't be loaded: in a container"),
        ({"devices": 1, "version": NEW}, {DRIVER_LIBRARY}, "no CUDA libraries: `make setup GPU=1` installs them"),
    ],
    ids=["no driver", "no device files", "an old driver", "no driver's library", "no CUDA libraries"],
)
def test_what_is_in_the_way_is_said_with_what_to_do(tmp_path, machine, libraries, obstacle):
    found = _found(_machine(tmp_path, **machine), frozenset(libraries))
    assert obstacle in found.obstacle
    assert (len(found.names), found.usable, found.hidden) == (1, 0, False)


def test_this_environment_without_a_cuda_wheel_has_none():
    """The loader itself is asked: this library is of no environment that runs the tests."""
    from arcface_common.gpus import _is_there

    assert not _is_there("libcudnn.so.0")
    assert _is_there("libc.so.6")
