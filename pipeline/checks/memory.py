"""Whether this machine's memory holds the training, asked before ingest begins. Standard library only.

A run that doesn't fit ends by the kernel's OOM killer, without a word, hours later.
"""

import dataclasses
from pathlib import Path

from arcface_common.console import say
from arcface_common.errors import ConfigError, DataError, setting_argument
from arcface_common.gpus import find_gpus
from trainer_module.backbone_facts import copy_bytes, step_parts
from trainer_module.settings import TrainSettings

_GB = 1e9
_IMPORTS = 0.9e9  # TensorFlow's and ours, in a worker
_PIPELINE = 1.3e9  # TFX's and Beam's, with what ingest and Transform leave behind
# The estimate meets measured peaks within 20 %: what is over by less may fit, and is only warned of.
_SURELY = 0.8


@dataclasses.dataclass(frozen=True)
class Available:
    """Memory that a new process can have.

    Attributes:
      bytes: how much.
      limit: what sets it: the machine, or a control group's file.
    """

    bytes: int
    limit: str


def available(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> Available:
    """The least of what the machine has left and what each control group above this process has left.

    Args:
      proc: where procfs is mounted.
      groups: where control groups are mounted, version 2 itself or version 1's folder of controllers.
    """
    meminfo = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    found = [Available(int(meminfo["MemAvailable"].split()[0]) * 1024, "this machine")]
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return found[0]
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            found += _left(groups, path, "memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            found += _left(groups / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
    return min(found, key=lambda one: one.bytes)


def _left(mount: Path, path: str, limit: str, usage: str, prefix: str) -> list[Available]:
    """What a control group and each one above it has left; in a container the mount is the group itself."""
    found = []
    group = mount / path.strip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(mount):
            break
        try:
            most = int((folder / limit).read_text())  # "max" is no number: no limit
            used = int((folder / usage).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        pages = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))  # given back on demand
        found.append(Available(max(0, most - used + pages), str(folder / limit)))
    return found


def needed_bytes(settings: TrainSettings, classes: int) -> int | None:
    """Memory that training takes on this host without a GPU; None where the backbone is not one of ours.

    Args:
      settings: with several workers, all of them are on this host unless they join a cluster.
      classes: identities.
    """
    parts = needed_parts(settings, classes)
    return None if parts is None else sum(parts.values())


def needed_parts(settings: TrainSettings, classes: int) -> dict[str, int] | None:
    """What `needed_bytes` adds up, by a name for people."""
    parts = step_parts(settings, classes, settings.images_at_a_time())
    copy = copy_bytes(settings, classes)
    if parts is None or copy is None:
        return None
    processes = 1 if settings.join_cluster else settings.workers
    imports = 0 if settings.workers == 1 else processes * _IMPORTS
    return {
        **{name: processes * size for name, size in parts.items()},
        "copy for checkpoints": copy,
        "libraries": round(_PIPELINE + imports),
    }


def check_memory(settings: TrainSettings, classes: int, here: Available | None = None) -> None:
    """Refuses a training that this machine's memory surely doesn't hold.

    Args:
      settings: of the training; `check_memory` false checks nothing.
      classes: identities, as far as the data set's header tells.
      here: the memory; looked up if None.

    Raises:
      DataError: with the figures, and a batch size that fits.
    """
    needed = needed_bytes(settings, classes)
    if not settings.check_memory or not settings.steps or needed is None:
        return
    if count := find_gpus().usable:
        say(f"training is for {count} GPUs, whose memory is not checked; without them it takes {needed / _GB:.1f} GB")
        return
    here = available() if here is None else here
    if needed <= here.bytes:
        return
    fits = _batch_that_fits(settings, classes, here.bytes)
    smaller = "a smaller train.backbone" + (" or fewer train.workers" if settings.workers > 1 else "")
    advice = f"train.batch_size={fits} fits" if fits else f"no train.batch_size fits: {smaller} may"
    figures = (
        f"about {needed / _GB:.1f} GB for train.batch_size={settings.batch_size} of {settings.backbone}, "
        f"{classes:,} identities and {settings.workers} worker{'s' if settings.workers > 1 else ''} without a GPU"
    )
    if needed * _SURELY <= here.bytes:
        say(f"WARNING memory: {figures}; {here.bytes / _GB:.1f} GB are left of {here.limit}; {advice}")
        return
    raise DataError(
        f"train.batch_size: expected {figures}; {advice}, and "
        f"{setting_argument('train.check_memory=false')} goes on all the same. "
        f"Received: {here.bytes / _GB:.1f} GB left of {here.limit}"
    )


def _batch_that_fits(settings: TrainSettings, classes: int, left: int) -> int:
    """The largest batch size that the memory holds, whole for each worker and micro-batch; 0 if none."""
    parts = settings.workers * settings.accumulate

    def fits(images: int) -> bool:
        try:
            smaller = dataclasses.replace(settings, batch_size=images * parts)
        except ConfigError:  # too few to be normalized
            return False
        needed = needed_bytes(smaller, classes)
        return needed is not None and needed <= left

    low, high = 0, settings.batch_size // parts  # `low` fits or is 0, `high` doesn't
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low * parts
