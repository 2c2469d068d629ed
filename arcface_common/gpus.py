"""NVIDIA's GPUs of this machine, and what keeps TensorFlow from them. Standard library only.

Where it lacks a library or the driver, TensorFlow computes on the CPU without a word: a hundred times slower, for days.
So they are looked for before it is imported.
"""

import ctypes
import dataclasses
import importlib.metadata
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

DRIVER_LIBRARY = "libcuda.so.1"
CUDA_LIBRARY = "libcudnn.so.9"
_CUDA_PACKAGE = "nvidia-cudnn-cu12"  # its libraries are found by TensorFlow's own path, not by the loader's

_NVIDIA = "0x10de"
_DISPLAY = "0x03"  # PCI's base class of display controllers; NVIDIA's bridges and sound have others
_OLDEST_DRIVER = (525, 60)  # CUDA 12.0's, with which every CUDA 12 runs by minor version compatibility


@dataclasses.dataclass(frozen=True)
class Gpus:
    """What there is.

    Attributes:
      names: of each GPU.
      hidden: CUDA_VISIBLE_DEVICES shows none of them: somebody wants it so.
      visible: how many a process may use, by that variable.
      obstacle: what keeps TensorFlow from them, and what to do about it; "" where nothing is known to.
    """

    names: tuple[str, ...] = ()
    hidden: bool = False
    visible: int = 0
    obstacle: str = ""

    @property
    def usable(self) -> int:
        """How many TensorFlow will find."""
        return 0 if self.obstacle else self.visible

    def in_words(self) -> str:
        """Their names with a count, such as "2 GPUs (NVIDIA H200, NVIDIA H200)"."""
        return f"{len(self.names)} GPU{'s' if len(self.names) > 1 else ''} ({', '.join(self.names)})"


def _is_there(library: str) -> bool:
    """Whether a process of this environment can load a library."""
    if library == CUDA_LIBRARY:
        try:
            importlib.metadata.version(_CUDA_PACKAGE)
        except importlib.metadata.PackageNotFoundError:
            pass
        else:
            return True
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def find_gpus(
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    is_there: Callable[[str], bool] = _is_there,
) -> Gpus:
    """Looks for GPUs by the driver's files, by device files and, where there is no driver, on the PCI bus.

    Args:
      root: where `proc`, `dev` and `sys` lie.
      environment: of the process that will use them.
      is_there: says whether a library can be loaded; asked where there is a GPU.
    """
    driver = root / "proc" / "driver" / "nvidia"
    devices = [path.name for path in (root / "dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    names = _names(driver) or ["NVIDIA GPU"] * max(len(devices), _on_the_bus(root))
    if not names:
        return Gpus()
    shown = environment.get("CUDA_VISIBLE_DEVICES")
    visible = len(devices) or len(names)
    if shown is not None:
        visible = min(
            visible, len([one for one in shown.split(",") if one.strip() and not one.strip().startswith("-")])
        )
    if not visible:
        return Gpus(tuple(names), hidden=True)
    return Gpus(tuple(names), False, visible, _obstacle(driver, devices, is_there))


def _names(driver: Path) -> list[str]:
    """What the driver calls its GPUs; nothing where it says nothing."""
    names = []
    for file in sorted((driver / "gpus").glob("*/information")):
        lines = (line.partition(":") for line in file.read_text(errors="replace").splitlines())
        names += [value.strip() for name, _, value in lines if name.strip() == "Model"]
    return names


def _on_the_bus(root: Path) -> int:
    """How many display controllers of NVIDIA's are on the PCI bus."""
    count = 0
    for device in (root / "sys" / "bus" / "pci" / "devices").glob("*"):
        try:
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        count += vendor == _NVIDIA and kind.startswith(_DISPLAY)
    return count


def _obstacle(driver: Path, devices: list[str], is_there: Callable[[str], bool]) -> str:
    """The first thing that keeps TensorFlow from the GPUs, and what to do about it; "" where nothing is known to."""
    version = driver / "version"
    if not devices and not version.exists():
        return "no driver of NVIDIA's is loaded: install it, or start this machine anew if it was just installed"
    if not devices:
        return "there are no /dev/nvidia*: start the container with --gpus all, or else run `nvidia-modprobe -u -c=0`"
    found = re.search(r"Kernel Module\D*\s(\d+)\.(\d+)", version.read_text()) if version.exists() else None
    if found and (int(found[1]), int(found[2])) < _OLDEST_DRIVER:
        oldest = ".".join(map(str, _OLDEST_DRIVER))
        return f"the driver is {found[1]}.{found[2]}, and CUDA 12 needs {oldest} or newer: install a newer one"
    if not is_there(DRIVER_LIBRARY):
        return (
            f"the driver's {DRIVER_LIBRARY} can't be loaded: in a container, NVIDIA's Container Toolkit brings it "
            "(NVIDIA_DRIVER_CAPABILITIES=compute,utility)"
        )
    if not is_there(CUDA_LIBRARY):
        return (
            "this environment has no CUDA libraries: `make setup GPU=1` installs them, elsewhere "
            "`pip install 'arcface-tfx[gpu]'`"
        )
    return ""
