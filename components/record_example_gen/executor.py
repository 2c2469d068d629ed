"""Work of RecordExampleGen: a global permutation of index entries, then shards written independently of each other."""

import contextlib
import io
import json
import os
from typing import Any

import numpy as np
from tfx import types
from tfx.types import artifact_utils

from components import filesystem, recordio
from components.example_gen_base import FolderExampleGenExecutor, begin_examples
from components.record_example_gen.plan import (
    Selection,
    ShardTask,
    identities_from_ranges,
    select,
    write_plan,
)
from components.record_example_gen.settings import IngestSettings
from components.record_example_gen.shards import (
    QUARANTINE,
    QUARANTINE_LIST,
    ShardContent,
    ShardJob,
    ShardStore,
    check_share,
)
from components.record_example_gen.stores import held_store, store_name
from components.record_example_gen.write import WriteShards, writer_processes
from components.record_example_gen.writer import started_ahead
from trainer_module.console import progress
from trainer_module.digests import IDENTITIES_FILE, IMAGE_DIGESTS_FILE
from trainer_module.errors import DataError


def rec_path(input_base: str) -> str:
    """The `.rec` file of a data set's folder.

    Raises:
      DataError: there is none.
    """
    rec = os.path.join(input_base, recordio.REC_FILE)
    if not filesystem.exists(rec):
        raise DataError(f"{rec}: expected a RecordIO file as InsightFace publishes it. Received: no such file")
    return rec


def read_dataset(input_base: str) -> recordio.DatasetLayout:
    """Which records of a data set's folder are images.

    Without `train.idx`, the index is rebuilt by one scan of `train.rec`.

    Raises:
      DataError: a file is missing, or is not what its format says.
    """
    rec, idx = rec_path(input_base), os.path.join(input_base, recordio.IDX_FILE)
    with recordio.RecordReader(rec, open_file=filesystem.open_read) as reader:
        has_index = filesystem.exists(idx)
        index = (
            recordio.read_index(idx, open_file=filesystem.open_read) if has_index else recordio.rebuild_index(reader)
        )
        return recordio.read_layout(reader, index)


def identities_of(layout: recordio.DatasetLayout, rec: str, settings: IngestSettings) -> np.ndarray | None:
    """Whose image each is, if the settings ask for it: int64 [N], -1 where unknown.

    From the identity records; without a header record, from the labels, by a pass over the records' heads.
    """
    if settings.min_images_per_identity == 1 and not settings.holdout:
        return None
    identity = identities_from_ranges(layout)
    if identity is not None:
        return identity
    labels = np.full(layout.num_images, -1, np.int64)
    with recordio.RecordReader(rec, open_file=filesystem.open_read) as reader:
        order = np.argsort(layout.image_offsets, kind="stable").tolist()
        for position in progress(order, description="read labels", unit="record"):
            try:
                label = reader.read(int(layout.image_offsets[position])).label
            except DataError:
                continue  # said again, with what is to be done about it, when its shard is written
            if label >= 0 and label.is_integer():
                labels[position] = int(label)
    return labels


class RecordExampleGenExecutor(FolderExampleGenExecutor):
    """Writes the split `train`, and `holdout` if it is asked for.

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
        rec = rec_path(given.folder)
        rec_bytes = filesystem.size(rec)
        processes = writer_processes(self._beam_pipeline_args, rec_bytes)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        name = store_name(given.digest, given.code_version, given.options)
        with held_store(given.work, examples.uri, name) as store:
            with started_ahead() if processes else contextlib.nullcontext():
                layout = read_dataset(given.folder)
                selection = select(layout.num_images, identities_of(layout, rec, settings), settings)
                begin_examples(output_dict, list(selection.splits))
                tasks = write_plan(store.plan, store.aside, layout, selection, rec_bytes, settings)
                job = ShardJob(rec, store, settings, layout.num_identities, selection.records)
                self.write_examples(tasks, WriteShards(job, processes), one_worker=processes > 0)
            if filesystem.exists(store.failed):
                raise DataError(filesystem.read_file(store.failed).decode())
            contents = _contents(store, tasks)
            _check_against_header(rec, layout, selection, settings, contents)
            bad = [entry for content in contents for entry in content.bad]
            check_share(len(bad), selection.records, settings, bad[0][2] if bad else "")
            for task in tasks:
                filesystem.link(store.shard(task), os.path.join(examples.uri, task.name))
            _publish(examples, store, contents, selection)
        examples.set_string_custom_property("content_digest", given.digest)


def _contents(store: ShardStore, tasks: list[ShardTask]) -> list[ShardContent]:
    """What all shards hold, in the order of the tasks."""
    contents = []
    for task in tasks:
        content = store.content(task)
        if content is None:
            raise RuntimeError(f"{store.shard(task)}: expected a finished shard. Received: none")
        contents.append(content)
    return contents


def _publish(examples: types.Artifact, store: ShardStore, contents: list[ShardContent], selection: Selection) -> None:
    """Writes what stands beside the splits, and the artifact's counts."""

    def save(name: str, values: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.save(buffer, values)
        filesystem.write_file(os.path.join(examples.uri, name), buffer.getvalue(), store.aside)

    identities = np.unique(np.concatenate([np.unique(content.labels) for content in contents])).astype(np.int64)
    save(IDENTITIES_FILE, identities)
    save(IMAGE_DIGESTS_FILE, np.unique(np.concatenate([content.digests for content in contents])))
    bad = sorted(entry for content in contents for entry in content.bad)
    for name, value in (
        ("records", sum(len(content.keys) for content in contents)),
        ("identities", len(identities)),
        ("bytes", sum(content.image_bytes for content in contents)),
        ("quarantined", len(bad)),
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
        filesystem.write_file(listing, "".join(f"{line}\n" for line in lines).encode(), store.aside)


def _check_against_header(
    rec: str,
    layout: recordio.DatasetLayout,
    selection: Selection,
    settings: IngestSettings,
    contents: list[ShardContent],
) -> None:
    """The header's number of identities must be the number of labels seen, and each identity's range have one label.

    Where records were quarantined, an identity may have lost all its images.
    """
    if layout.num_identities is None:
        return
    keys = np.concatenate([content.keys for content in contents])
    labels = np.concatenate([content.labels for content in contents])
    seen = int(np.count_nonzero(np.bincount(labels)))
    expected = layout.num_identities - selection.left_out_identities
    quarantined = any(content.bad for content in contents)
    if seen > expected or (seen < expected and not quarantined):
        least = settings.min_images_per_identity
        left = f" less {selection.left_out_identities} with fewer than {least} images" if least > 1 else ""
        raise DataError(
            f"{rec}: expected {layout.num_identities} identities, as its header record says{left}. "
            f"Received: {seen} different labels in {len(keys)} images"
        )
    owner = identities_from_ranges(layout)
    assert owner is not None
    owners = owner[np.searchsorted(layout.image_keys, keys)]
    claimed = owners >= 0
    first = np.full(layout.num_identities, -1, np.int64)
    first[owners[claimed]] = labels[claimed]  # of several, any: one that differs shows it
    differing = np.flatnonzero(claimed & (first[owners] != labels))
    if len(differing):
        image, identity = differing[0], owners[differing[0]]
        begin, end = layout.identity_ranges[identity]
        raise DataError(
            f"{rec}, key {keys[image]}: expected one label in keys {begin} .. {end}, which the identity record at key "
            f"{layout.identity_keys[identity]} claims. Received: labels {labels[image]} and {first[identity]}"
        )
