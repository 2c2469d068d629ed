"""What header and identity records say beside the images' own labels, compared with them.

The labels decide, since InsightFace trains on them. Its tools write several ranges for one label (face2rec2, where a
list isn't sorted), labels with gaps or from 1 (RecBuilder) and ranges without an image: nothing here is an error.
"""

import numpy as np

from components.formats.recordio.layout import DatasetLayout, counted


def claims(layout: DatasetLayout) -> np.ndarray:
    """Which identity record claims each image, of several the one that begins last: int64 [N], position or -1."""
    first, last = layout.identity_ranges.T
    order = np.argsort(first, kind="stable")
    order = order[(first <= last)[order]]  # an empty range would hide the one before it
    if not len(order):
        return np.full(layout.num_images, -1)
    place = np.searchsorted(first[order], layout.image_keys, side="right") - 1
    claimed = (place >= 0) & (layout.image_keys <= last[order][place])
    return np.where(claimed, order[place], -1)


def label_remarks(layout: DatasetLayout, keys: np.ndarray, labels: np.ndarray, identities: int) -> tuple[str, ...]:
    """Says where the labels differ from what header and identity records announce.

    Memory: about 50 bytes an image.

    Args:
      layout: of the data set; without a header record nothing is announced.
      keys: int64 [n] of the images that were read, each once.
      labels: integers [n], their labels.
      identities: how many different labels all images have, those included that are left out on purpose.

    Returns:
      A sentence for each kind of difference.
    """
    if layout.num_identities is None:
        return ()
    found: tuple[str, ...] = ()
    if identities != layout.num_identities:
        found = (f"{layout.num_identities:,} identities announced, and {identities:,} labels in the images",)
    first, last = layout.identity_ranges.T
    order = np.argsort(first, kind="stable")
    furthest = np.maximum.accumulate(last[order])
    overlapping = order[1:][(first[order][1:] <= furthest[:-1]) & (first <= last)[order][1:]]
    owners = claims(layout)[np.searchsorted(layout.image_keys, keys)]
    claimed = owners >= 0
    owner, label = owners[claimed], labels[claimed].astype(np.int64)
    one = np.full(layout.num_identities, -1)  # a label of each identity record's images
    one[owner] = label
    mixed = np.unique(owner[one[owner] != label])
    # Sorting all pairs of record and label is only worth it where some record has several.
    of_records = np.unique(owner << 31 | label) & (2**31 - 1) if len(mixed) else one[one >= 0]
    label, records = np.unique(of_records, return_counts=True)
    return (
        *found,
        *counted(layout.identity_keys[first > last], "identity record", "without an image"),
        *counted(np.sort(layout.identity_keys[overlapping]), "identity record", "whose images another one claims, too"),
        *counted(np.sort(keys[~claimed]), "image", "that no identity record claims"),
        *counted(layout.identity_keys[mixed], "identity record", "with images of several labels"),
        *counted(label[records > 1], "label", "in several identity records"),
    )
