"""Work of RecordExampleGen: a global permutation of index entries, then shards written independently of each other."""

import contextlib
import io
import json
import os
from typing import Any

import numpy as np
from tfx import types
from tfx.types import artifact_utils

from arcface_common import filesystem
from arcface_common.artifacts import RECORD_COUNTS_FILE
from arcface_common.console import say
from arcface_common.digests import IDENTITIES_FILE, IMAGE_DIGESTS_FILE
from arcface_common.errors import DataError
from arcface_common.features import HOLDOUT_SPLIT, TRAIN_SPLIT, VERIFY_SPLIT
from components.example_gen_base import FolderExampleGenExecutor, begin_examples, unchanged
from components.formats import recordio
from components.formats.identity_names import IDENTITIES, read_names
from components.record_example_gen.labels import read_labels
from components.record_example_gen.plan import Selection, ShardTask, select, write_plan
from components.record_example_gen.settings import IngestSettings
from components.record_example_gen.shards import (
    QUARANTINE,
    QUARANTINE_LIST,
    UNFINISHED,
    ShardContent,
    ShardJob,
    ShardStore,
    check_share,
)
from components.record_example_gen.stores import held_store, store_name
from components.record_example_gen.write import WriteShards, writer_processes
from components.record_example_gen.writer import started_ahead


def identities_of(layout: recordio.DatasetLayout, rec: str, settings: IngestSettings) -> np.ndarray | None:
    """Whose image each is, if the settings ask for it: int64 [N], -1 where unknown. By the images' own labels."""
    if settings.min_images_per_identity == 1 and not settings.holdout and not settings.verify_identities:
        return None
    return read_labels(layout, rec)


def names_of(folder: str, settings: IngestSettings) -> dict[int, str] | None:
    """The identities' names by label, if the settings ask for them and the data set has them.

    Raises:
      DataError: the file holds something else.
    """
    return read_names(os.path.join(folder, IDENTITIES)) if settings.verify_identities else None


class RecordExampleGenExecutor(FolderExampleGenExecutor):
    """Writes the split `train`, and `holdout` and `verify` if they are asked for.

    Memory of this process: 40 bytes a record while it plans (index 16, order 8, reading lengths 16), 20 bytes a record
    (key, label, digest) and 40 more when it adds up: 350 MB at 5.8 million. A worker holds one record at a time.
    """

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the Beam job.

        Raises:
          DataError: the folder is not what InsightFace publishes; names the file, the key and the byte offset.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        given = self.inputs(exec_properties)
        settings = IngestSettings(**given.options)
        rec = recordio.rec_path(given.folder)
        rec_bytes = filesystem.size(rec)
        processes = writer_processes(self._beam_pipeline_args, rec_bytes)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        name = store_name(given.digest, given.code_version, given.options)
        with held_store(given.work, examples.uri, name) as store, unchanged(given):
            with started_ahead() if processes else contextlib.nullcontext():
                layout = recordio.read_dataset(given.folder)
                identities, names = identities_of(layout, rec, settings), names_of(given.folder, settings)
                selection = select(layout.num_images, identities, settings, rec, names)
                begin_examples(output_dict, list(selection.splits))
                tasks = write_plan(store.plan, store.aside, layout, selection, rec_bytes, settings)
                job = ShardJob(rec, store, settings, selection.records)
                self.write_examples(tasks, WriteShards(job, processes), one_worker=processes > 0)
            if filesystem.exists(store.failed):
                raise DataError(filesystem.read_file(store.failed).decode())
            contents = _contents(store, tasks)
            bad = [entry for content in contents for entry in content.bad]
            check_share(len(bad), selection.records, settings, bad[0][2] if bad else "")
            for task in tasks:
                filesystem.link(store.shard(task), os.path.join(examples.uri, task.name))
            _publish(examples, store, tasks, contents, selection)
        _say_what_is_odd(rec, layout, selection, contents, examples)
        examples.set_string_custom_property("content_digest", given.digest)
        examples.set_string_custom_property("data", given.folder)


def _contents(store: ShardStore, tasks: list[ShardTask]) -> list[ShardContent]:
    """What all shards hold, in the order of the tasks."""
    contents = []
    for task in tasks:
        content = store.content(task)
        if content is None:
            raise RuntimeError(f"{store.shard(task)}: expected a finished shard. Received: none")
        contents.append(content)
    return contents


def _publish(
    examples: types.Artifact,
    store: ShardStore,
    tasks: list[ShardTask],
    contents: list[ShardContent],
    selection: Selection,
) -> None:
    """Writes what stands beside the splits, and the artifact's counts."""
    # On Kubeflow, the store lies on another file system.
    aside = os.path.join(examples.uri, UNFINISHED)

    def save(name: str, values: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.save(buffer, values)
        filesystem.write_file(os.path.join(examples.uri, name), buffer.getvalue(), aside)

    of_training = [c for task, c in zip(tasks, contents, strict=True) if task.split != VERIFY_SPLIT]
    identities = _identities(of_training)
    save(IDENTITIES_FILE, identities)
    save(IMAGE_DIGESTS_FILE, np.unique(np.concatenate([content.digests for content in of_training])))
    counts = {task.name: len(content.keys) for task, content in zip(tasks, contents, strict=True)}
    filesystem.write_file(os.path.join(examples.uri, RECORD_COUNTS_FILE), json.dumps(counts).encode(), aside)
    bad = sorted(entry for content in contents for entry in content.bad)
    in_split = dict.fromkeys((TRAIN_SPLIT, HOLDOUT_SPLIT, VERIFY_SPLIT), 0)
    for task, content in zip(tasks, contents, strict=True):
        in_split[task.split] += len(content.keys)
    for name, value in (
        ("records", in_split[TRAIN_SPLIT] + in_split[HOLDOUT_SPLIT]),
        ("train_records", in_split[TRAIN_SPLIT]),
        ("holdout_records", in_split[HOLDOUT_SPLIT]),
        ("verify_records", in_split[VERIFY_SPLIT]),
        ("verify_identities", len(_identities(contents)) - len(identities)),
        ("identities", len(identities)),
        ("bytes", sum(content.image_bytes for content in contents)),
        ("quarantined", len(bad)),
        ("turned", sum(content.turned for content in contents)),
        ("left_out_identities", selection.left_out_identities),
        ("left_out_images", selection.left_out_images),
    ):
        examples.set_int_custom_property(name, value)
    if bad:
        lines = [json.dumps({"key": key, "offset": offset, "reason": reason}) for key, offset, reason in bad]
        target = os.path.join(examples.uri, QUARANTINE)
        for path in filesystem.files_below(os.path.join(store.folder, QUARANTINE)):
            filesystem.link(path, os.path.join(target, os.path.basename(path)))
        listing = os.path.join(target, QUARANTINE_LIST)
        filesystem.write_file(listing, "".join(f"{line}\n" for line in lines).encode(), aside)
    filesystem.remove_folder(aside)


def _identities(contents: list[ShardContent]) -> np.ndarray:
    """The labels that occur, int64 [C], ascending."""
    return np.unique(np.concatenate([np.unique(content.labels) for content in contents])).astype(np.int64)


def _unnamed(layout: recordio.DatasetLayout, contents: list[ShardContent]) -> dict[int, int]:
    """Key of each image behind which lie images that the index doesn't name -> bytes up to the next that it names.

    Behind the last image it names, other records may follow: such bytes aren't counted.
    """
    found = np.concatenate([content.unnamed for content in contents])
    offsets = np.sort(layout.image_offsets)
    following = np.append(offsets, 0)[np.searchsorted(offsets, found[:, 1])]
    return dict(zip(found[:, 0].tolist(), np.maximum(following - found[:, 1], 0).tolist(), strict=True))


def _say_what_is_odd(
    rec: str,
    layout: recordio.DatasetLayout,
    selection: Selection,
    contents: list[ShardContent],
    examples: types.Artifact,
) -> None:
    """Tells a person what header and identity records say beside the labels, and what was done to images."""
    keys = np.concatenate([content.keys for content in contents])
    labels = np.concatenate([content.labels for content in contents])
    counted = ("identities", "verify_identities")
    identities = sum(map(examples.get_int_custom_property, counted)) + selection.left_out_identities
    remarks = (
        *layout.remarks,
        *recordio.unnamed_remarks(_unnamed(layout, contents)),
        *recordio.label_remarks(layout, keys, labels, identities),
        *recordio.property_remarks(os.path.dirname(rec), identities, layout.num_identities),
    )
    for remark in remarks:
        say(f"{rec}: {remark}")
    if turned := examples.get_int_custom_property("turned"):
        say(f"{rec}: {turned:,} images turned as their EXIF orientation says")
