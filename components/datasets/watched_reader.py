"""A RecordReader for commands that people wait for."""

from collections.abc import Iterator

from arcface_common.console import progress
from components.formats.recordio import RecordReader


class WatchedReader(RecordReader):
    """A reader whose scan, of minutes for a published set, shows how far it is."""

    def scan(self) -> Iterator[tuple[int, bytes]]:
        """All records in file order, with a progress bar."""
        yield from progress(super().scan(), description="rebuild index", unit="record")
