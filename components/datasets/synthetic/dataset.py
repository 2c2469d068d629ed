"""Writes drawn faces as InsightFace publishes real ones: `train.rec`, `train.idx`, `property` and four `.bin` sets.

Every picture is a pure function of (seed, set, identity, number), so the bytes do not depend on how many processes
drew them.
"""

import dataclasses
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from arcface_common import filesystem
from arcface_common.aside import folder_aside
from arcface_common.console import progress
from arcface_common.errors import DataError
from arcface_common.features import VERIFICATION_SETS
from arcface_common.lasting_pool import lasting_pool
from arcface_common.paths import check_regular
from arcface_common.processes import sigterm_unwinds
from components.datasets.synthetic.condition import Variation
from components.datasets.synthetic.faces import Condition, Identity, encode
from components.formats import verification_bin
from components.formats.recordio import write_layout

GENERATOR_VERSION = 2  # raise it when the same spec draws other pictures
FOLDS = 10
MAX_IMAGES = 1000  # of an identity
MAX_PAIRS = 100_000  # of a set, 0.5 GB, half of what `evaluation.max_set_mb` lets a run read
_MANIFEST = "synthetic.json"
_TRAIN = 0  # the stream of training identities; the verification sets have the streams 1 .. 4
_MAX_KEY = 2**24  # labels are float32

TRAIN_VARIATION = Variation(yaw=(0.0, 60.0), years=(-12.0, 30.0), restyle=0.2)

# What the two pictures of a pair look like. Frontal and profile are CFP's 10 and 90 degrees, as far as a drawn head
# that must keep both eyes in the crop can turn; the ages are 28 to 48 years apart.
PAIR_VARIATIONS: dict[str, tuple[Variation, Variation]] = {
    "lfw": (Variation(yaw=(0.0, 30.0)), Variation(yaw=(0.0, 30.0))),
    "cfp_ff": (Variation(yaw=(0.0, 10.0), covered=0.05), Variation(yaw=(0.0, 10.0), covered=0.05)),
    "cfp_fp": (Variation(yaw=(0.0, 10.0), covered=0.05), Variation(yaw=(50.0, 62.0), covered=0.05)),
    "agedb_30": (
        Variation(yaw=(0.0, 26.0), years=(-12.0, -4.0), restyle=0.5),
        Variation(yaw=(0.0, 26.0), years=(24.0, 36.0), restyle=0.5),
    ),
}


@dataclasses.dataclass(frozen=True)
class SyntheticSpec:
    """What to draw. The default is 8,000 training images and four sets of 600 pairs.

    Attributes:
      identities: people in the training set.
      images_per_identity: pictures of each, at most 1,000: a process draws some people's at a time.
      pairs: pairs in each verification set, half of them of one person; a multiple of 20, so that each of the 10
        folds is balanced, at least 40 and at most 100,000: of so many, a set is 0.5 GB, which is held in memory.
      seed: another seed, other people.

    Raises:
      ValueError: a number out of its range.
    """

    identities: int = 500
    images_per_identity: int = 16
    pairs: int = 600
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("identities", 2), ("images_per_identity", 2), ("pairs", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}. Received: {name}={value!r}")
        for name, most in (("images_per_identity", MAX_IMAGES), ("pairs", MAX_PAIRS)):
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most:,}. Received: {name}={getattr(self, name)}")
        if self.pairs % (2 * FOLDS) or self.pairs < 4 * FOLDS:
            raise ValueError(
                f"pairs must be a multiple of {2 * FOLDS}, at least {4 * FOLDS}. Received: pairs={self.pairs}"
            )
        if self.num_images + self.identities >= _MAX_KEY:
            raise ValueError(
                "identities * (images_per_identity + 1) must be below 2**24, which the labels of a .rec can hold. "
                f"Received: identities={self.identities}, images_per_identity={self.images_per_identity}"
            )

    @property
    def num_images(self) -> int:
        """Images in the training set."""
        return self.identities * self.images_per_identity


def write_dataset(
    out_dir: str | os.PathLike[str], spec: SyntheticSpec, *, processes: int | None = None
) -> Literal["written", "unchanged"]:
    """Draws and writes a whole data set (10,400 images by default: 30 s on two idle cores).

    The folder appears complete or not at all: it is written beside its place and renamed.

    Args:
      out_dir: folder to make; one that an earlier call wrote is replaced.
      spec: what to draw.
      processes: how many draw; None for one on each core this process may use. The bytes are the same.

    Returns:
      "unchanged" if the folder already holds this spec's files, drawn by this version of the generator.

    Raises:
      DataError: `out_dir` holds something that this function didn't write.
      ValueError: `processes` is less than 1.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"processes must be at least 1. Received: processes={processes!r}")
    out = Path(out_dir)
    if _holds(out, spec):
        return "unchanged"
    with sigterm_unwinds(signal.SIGHUP), folder_aside(out, replace=True) as partial:
        with progress(
            total=spec.num_images + len(VERIFICATION_SETS) * spec.pairs, description="draw", unit="img"
        ) as bar:
            _write_train(partial, spec, processes, bar)
            for stream, name in enumerate(VERIFICATION_SETS, _TRAIN + 1):
                _write_pairs(partial / f"{name}.bin", spec, stream, processes, bar)
        _write_manifest(partial, spec)
    return "written"


def draw_images(spec: SyntheticSpec, stream: int, identity: int, variations: list[Variation]) -> list[bytes]:
    """All pictures of one identity, a pure function of its arguments.

    Args:
      spec: gives the seed.
      stream: 0 for training, 1 .. 4 for the verification sets, whose people are others.
      identity: number within the stream.
      variations: one for each picture.

    Returns:
      JPEG bytes, RGB, 112 x 112.
    """
    who, *pictures = np.random.SeedSequence([spec.seed, stream, identity]).spawn(1 + len(variations))
    person = Identity.draw(np.random.default_rng(who))
    return [
        encode(person, Condition.draw(np.random.default_rng(seed), variation))
        for seed, variation in zip(pictures, variations, strict=True)
    ]


def _draw(task: tuple[SyntheticSpec, int, range, list[Variation]]) -> list[list[bytes]]:
    spec, stream, identities, variations = task
    return [draw_images(spec, stream, identity, variations) for identity in identities]


def _draw_all(
    spec: SyntheticSpec, stream: int, count: int, variations: list[Variation], processes: int | None, bar: tqdm
) -> Iterator[list[bytes]]:
    """`draw_images` of identities 0 .. count - 1, in order."""
    processes = min(processes or len(os.sched_getaffinity(0)), count)
    if processes == 1:
        for identity in range(count):
            yield draw_images(spec, stream, identity, variations)
            bar.update(len(variations))
        return
    size = max(1, min(8, count // (4 * processes)))
    tasks = ((spec, stream, range(i, min(i + size, count)), variations) for i in range(0, count, size))
    # Spawned, not forked: the caller may have started threads, TensorFlow's for one.
    spawn = multiprocessing.get_context("spawn")
    with lasting_pool(processes, spawn, "Nothing is left of the folder") as pool:
        for people in pool.map(_draw, tasks):
            for images in people:
                yield images
                bar.update(len(variations))


def _write_train(folder: Path, spec: SyntheticSpec, processes: int | None, bar: tqdm) -> None:
    """The training set."""
    variations = [TRAIN_VARIATION] * spec.images_per_identity
    identities = _draw_all(spec, _TRAIN, spec.identities, variations, processes, bar)
    write_layout(folder, identities)


def _write_pairs(path: Path, spec: SyntheticSpec, stream: int, processes: int | None, bar: tqdm) -> None:
    """One verification set: in each fold a block of same pairs, then one of different pairs, of people of that fold.

    As in LFW's list, the folds share nobody, and a picture occurs in a pair of either kind.
    """
    block = spec.pairs // (2 * FOLDS)
    variations = list(PAIR_VARIATIONS[path.stem])
    people = list(_draw_all(spec, stream, FOLDS * block, variations, processes, bar))
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, stream]))
    images: list[bytes] = []
    for fold in range(FOLDS):
        members = people[fold * block : (fold + 1) * block]
        step = int(rng.integers(1, block))
        others = members[step:] + members[:step]
        for person, other in [*zip(members, members, strict=True), *zip(members, others, strict=True)]:
            images += [person[0], other[1]]
    verification_bin.write(path, images, np.tile(np.repeat([True, False], block), FOLDS))


def _manifest(spec: SyntheticSpec) -> dict[str, Any]:
    return {"generator_version": GENERATOR_VERSION, "spec": dataclasses.asdict(spec)}


def _write_manifest(folder: Path, spec: SyntheticSpec) -> None:
    """The folder's own note of what it holds, with the sizes by which a damaged copy is noticed."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    text = json.dumps(_manifest(spec) | {"bytes": sizes}, indent=2)
    (folder / _MANIFEST).write_text(text + "\n")


def _holds(folder: Path, spec: SyntheticSpec) -> bool:
    """Whether the folder is this data set; raises if it is something else's."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if (folder / _MANIFEST).exists():
        check_regular(str(folder / _MANIFEST))
    try:
        found = json.loads(filesystem.read_file(str(folder / _MANIFEST)))
        sizes = {name: int(size) for name, size in found.pop("bytes").items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"{folder}: expected no such folder, an empty one, or one that was drawn before ({_MANIFEST} in it). "
            f"Received: {'a folder of something else' if folder.is_dir() else 'a file'}"
        ) from None
    # A copy that was cut is smaller than what was drawn; a larger file is somebody's.
    there = {path.name: path.stat().st_size for path in folder.iterdir() if path.name != _MANIFEST}
    if others := sorted(name for name, size in there.items() if size > sizes.get(name, -1)):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise DataError(
            f"{folder}: expected nothing in it but what was drawn, which another set would replace. "
            f"Received: {others[0]!r}{more}"
        )
    return there == sizes and found == _manifest(spec)
