"""One thin runner per platform."""
