"""A folder of photos becomes a folder of crops with their list: by processes of this machine, or by Beam.

The work is cut into batches of photos. A batch is finished when its part of the list is there, so a second try redoes
no finished batch. Locally the whole appears under its name when it is complete; on other file systems it is complete
when `faces.csv` is there.
"""

import collections
import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from arcface_common import filesystem
from arcface_common.artifacts import FACES_FILE, SHEET_FILE
from arcface_common.aside import private_folder
from arcface_common.console import progress, say
from arcface_common.errors import DataError
from arcface_common.name_text import ESCAPES
from components.alignment.aligner import complaint
from components.alignment.faces_csv import UNREADABLE, FaceRow, write_faces
from components.alignment.job import AlignJob, Batch
from components.alignment.photos import Photos, list_photos
from components.alignment.processes import run_in_processes
from components.alignment.settings import DEFAULT_SETTINGS, AlignSettings
from components.alignment.sheet import MOST_SHOWN, write_sheet
from components.datasets.aligned_faces import AlignedFaces
from components.datasets.identity_folders import find_identities

_BATCH = 32
_PLAN = "plan.json"
_LISTED = 20  # photos of a reason that are named

# Does batches of a job, and tells the last argument how many more photos are finished.
Runner = Callable[[AlignJob, Sequence[Batch], Callable[[int], object]], None]


@dataclasses.dataclass(frozen=True)
class AlignReport:
    """What became of a folder of photos.

    Attributes:
      photos: how many there are.
      crops: how many of them gave one.
      rejected: reason -> how many gave none for it.
      examples: the first rejected photos of each reason.
      enlarged: crops that show their face larger than the photo does.
      several: photos with more than one face, of which one was chosen.
      resumed: photos that a former try had done.
      left_out: lines about files that are no photos.
    """

    photos: int
    crops: int
    rejected: dict[str, int]
    examples: tuple[FaceRow, ...]
    enlarged: int
    several: int
    resumed: int
    left_out: tuple[str, ...]

    @property
    def unreadable(self) -> list[FaceRow]:
        """The first photos that could not be read."""
        return [row for row in self.examples if row.kind == UNREADABLE]

    def lines(self) -> list[str]:
        """The report for a person."""
        lines = [f"{self.crops:,} crops of {self.photos:,} photos"]
        if self.resumed:
            lines.append(f"done by a former try: {self.resumed:,}")
        if self.rejected:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.rejected.items())
            lines.append(f"rejected: {sum(self.rejected.values()):,} ({kinds})")
        if self.several:
            lines.append(f"one of several faces chosen: {self.several:,}")
        if self.enlarged:
            lines.append(f"faces enlarged: {self.enlarged:,} (column upscale)")
        return [*lines, *self.left_out]


def align_folder(
    photos: str,
    out: str,
    settings: AlignSettings = DEFAULT_SETTINGS,
    run: Runner = run_in_processes,
    on_rejected: Callable[[FaceRow], object] | None = None,
) -> AlignReport:
    """Writes the crop of each photo at the same path below `out`, with `faces.csv` and a page of what was rejected.

    Args:
      photos: a folder of photos, or of one folder an identity.
      out: the folder to make.
      settings: which face counts, and the limits.
      run: does the batches; by default a process a core.
      on_rejected: is told each photo that gave no crop.

    Returns:
      What became of the photos.

    Raises:
      DataError: `out` exists, lies in `photos` or is being written by another process, or `photos` holds no photo.
    """
    local = filesystem.is_local(out)
    if os.path.lexists(out) if local else filesystem.exists(os.path.join(out, FACES_FILE)):
        raise DataError(f"{out}: expected a folder that doesn't exist yet. Received: an existing one")
    if local and filesystem.is_local(photos) and Path(photos).resolve() in Path(out).resolve().parents:
        raise DataError(f"{out}: expected a folder outside of {photos!r}. Received: one in it")
    found = list_photos(photos)
    say(f"{photos}: aligning by {settings.detector}")
    batches = [
        Batch(number, found.names[begin : begin + _BATCH])
        for number, begin in enumerate(range(0, len(found.names), _BATCH))
    ]
    work = os.path.join(os.path.dirname(out), f".{os.path.basename(os.path.normpath(out))}.partial") if local else out
    job = AlignJob(photos, work, settings)
    with _held(job, out) if local else contextlib.nullcontext():
        resumed = _begin(job, found, batches)
        with progress(total=len(found.names), initial=resumed, description="align", unit="photo") as bar:
            run(job, [batch for batch in batches if not filesystem.exists(job.part(batch))], bar.update)
        report = dataclasses.replace(_finish(job, batches, on_rejected), resumed=resumed, left_out=found.left_out)
        if local:
            os.rename(work, out)
            job = dataclasses.replace(job, work=out)
        filesystem.remove_folder(job.state)
    return report


@contextlib.contextmanager
def aligned_folder(photos: str, settings: AlignSettings = DEFAULT_SETTINGS) -> Iterator[AlignedFaces]:
    """The crops of a folder's photos in a folder that its owner alone enters, for as long as the body runs.

    How many were rejected is said. The crops take about 8 KB each where Python's `tempfile` puts them (TMPDIR).

    Args:
      photos: one folder of photos an identity.
      settings: which face counts, and the limits.

    Yields:
      The folder of crops, and the photos that gave none.

    Raises:
      DataError: no photo gave one, or what `find_identities` refuses.
    """
    find_identities(Path(photos))
    with private_folder() as above:
        out = os.path.join(above, os.path.basename(os.path.abspath(photos)))  # a name that bars and errors may show
        rejected: dict[str, str] = {}

        def note(row: FaceRow) -> None:
            rejected[row.file] = complaint(row).removeprefix(f"{row.file}: ")

        report = align_folder(photos, out, settings, on_rejected=note)
        if not report.crops:
            name, reason = next(iter(rejected.items()))
            raise DataError(f"{os.path.join(photos, name)}: {reason}")
        for line in report.lines():
            say(line)
        filesystem.remove([os.path.join(out, name) for name in (FACES_FILE, SHEET_FILE)])
        try:
            yield AlignedFaces(Path(out), Path(photos), rejected)
        except DataError as error:
            if out not in str(error):
                raise
            raise DataError(f"{str(error).replace(out, photos)}, among the crops of the photos") from error


@contextlib.contextmanager
def _held(job: AlignJob, out: str) -> Iterator[None]:
    """Keeps other processes from the same work; a work folder of which nothing is finished goes if the body fails."""
    os.makedirs(job.work, exist_ok=True)
    held = os.open(job.work, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{out}: expected no other align that writes it. Received: one at work") from error
        try:
            yield
        except BaseException:
            # Without a plan the folder may be somebody else's, and is emptied by nobody.
            if filesystem.exists(os.path.join(job.state, _PLAN)) and not filesystem.files_below(job.parts):
                filesystem.remove_folder(job.work)
            raise
    finally:
        os.close(held)


def _begin(job: AlignJob, found: Photos, batches: list[Batch]) -> int:
    """Makes the work folder one of these photos and settings; how many photos a former try has done."""
    settings = dataclasses.asdict(job.settings)
    content = json.dumps([os.path.abspath(job.photos), settings, found.names, found.times, found.sizes, _BATCH])
    plan = {"digest": hashlib.sha256(content.encode()).hexdigest(), "settings": settings}
    path = os.path.join(job.state, _PLAN)
    former = None
    with contextlib.suppress(OSError, ValueError):
        former = json.loads(filesystem.read_file(path))
    if former == plan:
        finished = set(filesystem.files_below(job.parts))
        return sum(len(batch.names) for batch in batches if job.part(batch) in finished)
    if former is not None:
        say(f"{job.work}: begun with other photos or settings; beginning anew")
        _empty(job.work)
    elif any(not name.startswith(f"{job.state}/") for name in filesystem.files_below(job.work)):
        raise DataError(f"{job.work}: expected a folder of an unfinished align, or none. Received: another one")
    filesystem.write_file(path, json.dumps(plan).encode(), job.aside)
    return 0


def _empty(folder: str) -> None:
    """Removes all in a folder that is held, and so must stay."""
    if not filesystem.is_local(folder):
        filesystem.remove_folder(folder)
        return
    for entry in list(os.scandir(folder)):
        shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.remove(entry)


def _finish(job: AlignJob, batches: list[Batch], on_rejected: Callable[[FaceRow], object] | None) -> AlignReport:
    """Joins the parts to `faces.csv`, and writes the page of what was rejected."""
    counts: collections.Counter[str] = collections.Counter()
    rejected: collections.Counter[str] = collections.Counter()
    shown: dict[str, list[FaceRow]] = {}

    def rows() -> Iterator[FaceRow]:
        for batch in batches:
            for row in job.rows(batch):
                counts["photos"] += 1
                if row.rejected:
                    if on_rejected:
                        on_rejected(row)
                    rejected[row.kind] += 1
                    if rejected[row.kind] <= MOST_SHOWN:
                        shown.setdefault(row.kind, []).append(row)
                else:
                    counts["enlarged"] += (row.upscale or 0) > 1
                    counts["several"] += row.faces > 1
                yield row

    with filesystem.write_aside(os.path.join(job.work, FACES_FILE), job.aside) as file:
        text = io.TextIOWrapper(file, "utf-8", errors=ESCAPES, newline="", write_through=True)
        write_faces(text, rows())
        text.detach()
    if shown:
        write_sheet(os.path.join(job.work, SHEET_FILE), job, rejected, shown)
    return AlignReport(
        photos=counts["photos"],
        crops=counts["photos"] - rejected.total(),
        rejected=dict(rejected.most_common()),
        examples=tuple(row for rows in shown.values() for row in rows[:_LISTED]),
        enlarged=counts["enlarged"],
        several=counts["several"],
        resumed=0,
        left_out=(),
    )
