"""The node that says what the data set's files hold, and looks at what a person asked of a run; it is never cached.

Kubeflow Pipelines' cache goes by the values of a step's parameters, and runs no driver: by the folder's name alone, a
data set that was changed in place would be a hit. So its digest is a parameter of the nodes that read it.
"""

import json
import os
from typing import TypedDict

from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component

from arcface_common import filesystem
from arcface_common.protocol.conditions import asked_conditions
from components.content_digest import content_digest, memo_path


class Digests(TypedDict):
    """What the node hands on."""

    records: str
    pairs: str


@component
def DataDigest(  # noqa: N802 - a component is named like a class
    data: Parameter[str],
    record_files: Parameter[str],
    pair_files: Parameter[str],
    work: Parameter[str],
    conditions: Parameter[str],
    sets: Parameter[str],
) -> Digests:
    """Hands `content_digest` of the training set and of the verification sets on, as parameters.

    Args:
      data: the data set's folder.
      record_files: JSON list of the names of the training set's files; those that aren't there are left out.
      pair_files: the same of the verification sets.
      work: folder that outlives a run, where digests of local files that have not changed are kept.
      conditions: what a model must fulfil, see `asked_conditions`. On a cluster's page they can be changed, and the
        node that judges comes last.
      sets: JSON list of the sets that are evaluated.

    Raises:
      DataError: see `asked_conditions`.
    """
    asked_conditions(conditions, json.loads(sets))
    return {
        "records": folder_digest(data, json.loads(record_files), work),
        "pairs": folder_digest(data, json.loads(pair_files), work),
    }


def folder_digest(data: str, names: list[str], work: str) -> str:
    """`content_digest` of a folder's files; "" where none is there, which the node that reads them says."""
    paths = [path for name in names if filesystem.exists(path := os.path.join(data, name))]
    return content_digest(paths, memo_path(work)) if paths else ""
