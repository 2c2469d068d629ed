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
from components.formats import recordio, verification_bin


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
      record_files: JSON list of the names of the training set's files, of which `train.rec` alone must be there.
      pair_files: the same of the verification sets, of which the attributes needn't be there; of no set, none.
      work: folder that outlives a run, where digests of local files that have not changed are kept.
      conditions: what a model must fulfil, see `asked_conditions`. On a cluster's page they can be changed, and the
        node that judges comes last.
      sets: JSON list of the sets that are evaluated.

    Raises:
      DataError: a file that is needed isn't there, or see `asked_conditions`.
    """
    asked_conditions(conditions, json.loads(sets))
    return {
        "records": records_digest(data, json.loads(record_files), work),
        "pairs": pairs_digest(data, json.loads(pair_files), work),
    }


def records_digest(data: str, names: list[str], work: str) -> str:
    """`content_digest` of the training set's files.

    Raises:
      DataError: the one that RecordExampleGen can't do without isn't there; it would find that out a step later.
    """
    recordio.rec_path(data)
    return content_digest(_found(data, names), memo_path(work))


def pairs_digest(data: str, names: list[str], work: str) -> str:
    """`content_digest` of the verification sets' files; "" where none is wanted, as where the only set is drawn.

    Raises:
      DataError: a set isn't there, of which PairExampleGen needs each.
    """
    for name in names:
        if name.endswith(".bin"):
            verification_bin.bin_path(data, name.removesuffix(".bin"))
    return content_digest(_found(data, names), memo_path(work)) if names else ""


def _found(data: str, names: list[str]) -> list[str]:
    return [path for name in names if filesystem.exists(path := os.path.join(data, name))]
