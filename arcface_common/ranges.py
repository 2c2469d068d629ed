"""Small reads at random places of a file in an object store, several at once.

Beam's files are made for reading from one end to the other. Its S3 file asks for everything up to the end of the object
and hangs up after the wanted bytes: for each 6 KB the server had sent 1,475 KiB (an object of 200 MB, server and client
on one host), and each read pays a new connection. Its GCS file fetches 16 MiB at least.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from arcface_common.filesystem import beam_filesystems

# (offset, length) -> that many bytes, or fewer at the end of the file.
ReadRange = Callable[[int, int], bytes]


@contextlib.contextmanager
def open_ranges(path: str, threads: int) -> Iterator[ReadRange]:
    """Opens a file of another file system than the local one.

    Args:
      path: with its scheme.
      threads: how many may read at once.

    Yields:
      A function of offset and length (at least 1), for as many threads. It raises OSError.
    """
    if path.startswith("s3://"):
        with contextlib.closing(_s3_client(threads)) as client:
            yield _s3_reader(client, path)
        return
    own = threading.local()  # a file each thread: they seek
    opened: list[BinaryIO] = []

    def read(offset: int, length: int) -> bytes:
        if not hasattr(own, "file"):
            own.file = _open_unbuffered(path)
            opened.append(own.file)
        own.file.seek(offset)
        return own.file.read(length)

    try:
        yield read
    finally:
        for file in opened:
            file.close()


def _open_unbuffered(path: str) -> BinaryIO:
    filesystems = beam_filesystems()
    if path.startswith("gs://"):
        from apache_beam.io.gcp.gcsio import GcsIO

        return GcsIO(pipeline_options=filesystems._pipeline_options).open(path, read_buffer_size=1)
    file = filesystems.open(path, compression_type="uncompressed")
    return getattr(file, "raw", file)


def _s3_client(connections: int) -> Any:
    """A client as Beam makes it from a pipeline's options, with more connections that stay open; for all threads."""
    import boto3
    from apache_beam.options.pipeline_options import S3Options
    from botocore.config import Config

    given = beam_filesystems()._pipeline_options.view_as(S3Options)
    return boto3.session.Session().client(
        "s3",
        region_name=given.s3_region_name,
        api_version=given.s3_api_version,
        use_ssl=not given.s3_disable_ssl,
        verify=given.s3_verify,
        endpoint_url=given.s3_endpoint_url,
        aws_access_key_id=given.s3_access_key_id,
        aws_secret_access_key=given.s3_secret_access_key,
        aws_session_token=given.s3_session_token,
        config=Config(max_pool_connections=connections),
    )


def _s3_reader(client: Any, path: str) -> ReadRange:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = path.removeprefix("s3://").partition("/")

    def read(offset: int, length: int) -> bytes:
        try:
            answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={offset}-{offset + length - 1}")
            return answer["Body"].read()
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "InvalidRange":
                return b""  # behind the end, where a file's read gives no byte, too
            raise OSError(f"{path}, byte offset {offset}: {error}") from error

    return read
