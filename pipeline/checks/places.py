"""Whether paths that a user gives can be taken literally: TFX and Beam look for files by globs."""

import os
import re

from arcface_common.errors import ConfigError, DataError, argument
from arcface_common.filesystem import is_local
from pipeline.checks.secrets import refuse_secret_path
from pipeline.kubernetes import normal_path

_GLOB_CHARACTERS = frozenset("[]*?\\")
# The reference of the OCI distribution specification.
_IMAGE = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9.-]*(:\d+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?",
    re.ASCII,
)


def check_places(data: str, root: str, here: bool) -> None:
    """Checks the data set's folder and that of the results.

    A data set on this machine may be called anything: our own code reads it. On another file system and in a container,
    Beam and TFX's stock driver look for its files, and everywhere for those below the root.

    Args:
      data: folder of the data set.
      root: folder of everything the pipeline writes.
      here: the pipeline runs on this machine.

    Raises:
      DataError: a path with a character that a glob takes for another one, or that can't be printed; in a container,
        a relative one or one with a placeholder of Kubeflow's; a root on another store than s3:// and gs://.
    """
    places = {"root": root} if here and is_local(data) else {"root": root, "data": data}
    for name, place in places.items():
        wrong = sorted(c for c in set(place) if c in _GLOB_CHARACTERS or not c.isprintable())
        if wrong:
            named = " ".join(repr(character) for character in wrong)
            raise DataError(
                f"{argument(name)} must be a path without {named}, which TFX takes for a pattern. Received: {place!r}"
            )
    if here:
        if not is_local(root):
            raise DataError(f"{argument('root')} must be a folder on this machine. Received: {root!r}")
        return
    for name, place in (("data", data), ("root", root)):
        if is_local(place) and not os.path.isabs(place):
            raise DataError(f"{argument(name)} must be a URI or an absolute path of every pod. Received: {place!r}")
        if "{{" in place:
            named = "{{, which Kubeflow replaces"
            raise DataError(f"{argument(name)} must be a path without {named}. Received: {place!r}")
    if normal_path(root) == "/" if is_local(root) else not _has_bucket(root, "s3", "gs"):
        expected = "s3://BUCKET, gs://BUCKET, or a folder of a volume in every pod"
        raise DataError(f"{argument('root')} must be {expected}. Received: {root!r}")


def check_vertex_places(data: str, root: str) -> None:
    """Checks the data set's folder and that of the results for Vertex AI Pipelines, whose steps have no volumes.

    Raises:
      DataError: a root that isn't on Cloud Storage, or data on a disk; buckets are in /gcs there.
    """
    if not _has_bucket(root, "gs"):
        expected = "gs://BUCKET: Vertex keeps no artifacts elsewhere"
        raise DataError(f"{argument('root')} must be {expected}. Received: {root!r}")
    if not (normal_path(data).startswith("/gcs/") if is_local(data) else _has_bucket(data, r"[^:]+")):
        expected = "a URI, or /gcs/BUCKET/...: no other folder is in a step of Vertex"
        raise DataError(f"{argument('data')} must be {expected}. Received: {data!r}")


def _has_bucket(uri: str, *schemes: str) -> bool:
    """Whether a URI of one of some schemes, each a pattern, names a bucket or a host."""
    return bool(re.match(rf"({'|'.join(schemes)})://[^/]", uri))


def check_image(image: str) -> None:
    """Checks the name of a container image.

    Raises:
      ConfigError: no registry would know it.
    """
    refuse_secret_path(argument("image"), image)
    if not _IMAGE.fullmatch(image):
        raise ConfigError(f"{argument('image')}: expected [HOST/]NAME[:TAG][@sha256:DIGEST]. Received: {image!r}")
