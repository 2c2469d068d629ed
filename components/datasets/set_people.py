"""Who is on the images of a verification set: by its CSV where that says so, else as far as its pairs do."""

import collections
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from arcface_common.errors import DataError
from components.formats.pair_attributes import IDENTITY_COLUMN, attributes_file, read_image_column

ListedImages = Sequence[tuple[int, int, bool]]  # first image, second image, whether they show one person


def listed_people(file: Path, places: Sequence[int]) -> dict[int, str] | None:
    """Image -> label of its person, from the column `identity` of the CSV beside a set.

    Args:
      file: the set's `.bin`.
      places: for each of the 2N images, where the same picture comes first.

    Returns:
      The label of each picture, by its first place; None without such a column, or where a label is empty.

    Raises:
      DataError: the CSV isn't what it should be, or one picture has two labels.
    """
    table = file.with_name(attributes_file(file.stem))
    labels = read_image_column(table, IDENTITY_COLUMN, len(places)) if table.exists() else None
    if labels is None or not all(labels):
        return None
    people: dict[int, str] = {}
    for image, (place, label) in enumerate(zip(places, labels, strict=True)):
        if people.setdefault(place, label) != label:
            raise DataError(
                f"{table}: expected one identity for a picture. Received: {people[place]!r} for image {place}, "
                f"{label!r} for image {image}, which is the same picture"
            )
    return people


def chained_people(pairs: ListedImages) -> dict[int, int]:
    """Image -> the first image of its person, by the pairs of one person; itself where pairs contradict each other."""
    leader = {image: image for a, b, _ in pairs for image in (a, b)}

    def find(image: int) -> int:
        while leader[image] != image:
            leader[image] = image = leader[leader[image]]
        return image

    for a, b, same in pairs:
        if same:
            first, second = sorted((find(a), find(b)))
            leader[second] = first
    torn = {find(a) for a, b, same in pairs if not same and find(a) == find(b)}
    return {image: image if find(image) in torn else find(image) for image in leader}


def contradictions(pairs: ListedImages, people: Mapping[int, str] | None) -> list[str]:
    """What `convert --pairs` will refuse in the list, a sentence for each kind.

    Args:
      pairs: the list.
      people: who is on each image, where a CSV says so.
    """
    kinds: dict[tuple[int, int], set[bool]] = collections.defaultdict(set)
    for a, b, same in pairs:
        kinds[min(a, b), max(a, b)].add(same)
    wrong = sum(len(found) > 1 or (a == b and False in found) for (a, b), found in kinds.items())
    against = sum((people[a] == people[b]) != same for a, b, same in pairs) if people else 0
    lines = {
        "warning: pairs that are of one person and of two, which `convert --pairs` refuses": wrong,
        f"warning: pairs that say otherwise than the column {IDENTITY_COLUMN!r}": against,
    }
    return [f"{line}: {count:,}" for line, count in lines.items() if count]


def unknown_people(file: Path) -> str:
    """What to know of folders that pairs alone made."""
    return (
        f"warning: no {attributes_file(file.stem)} beside {os.path.basename(file)} says who is on each image (column "
        f"{IDENTITY_COLUMN!r}): a folder is a person as far as the pairs tell, and one person may have several. "
        "Judge by the pairs, not with `evaluate folder`"
    )
